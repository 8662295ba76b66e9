import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Spool } from '/work/wt/spool/services/capture/spool.ts';
import { openSpoolFiles } from '/work/wt/spool/services/capture/spool-files.ts';
import { batchBytes } from '/work/wt/spool/test/unit/correlator/batches.ts';
import { eventSubject } from '/work/wt/spool/schemas/subjects.ts';
for (const rows of [0, 20, 200, 4000]) {
  const dir = mkdtempSync('/work/wt/.bench-'); 
  const files = await openSpoolFiles(dir);
  const spool = new Spool(files, '1', { bytes: 1 << 30, segmentBytes: 4 << 20 });
  const data = batchBytes({ kind: 'kprobe', seq: 1 }, Array.from({ length: rows }, (_, i) => ({ type: 1, eventId: i, localAddress: '10.0.0.7', peerAddress: '10.0.0.9' })));
  const m = { subject: eventSubject('kprobe', 'node-a'), schema: 'kprobe.v1', data, messageId: 'node-a.boot.123.4', rows };
  const N = rows > 1000 ? 300 : 5000;
  for (const mode of ['connected', 'cut']) {
    for (let i = 0; i < 200; i++) { spool.append(m); const n = spool.next()!; spool.settled(n.segment); }
    const t0 = process.cpuUsage(); const w0 = performance.now();
    for (let i = 0; i < N; i++) { spool.append(m); if (mode === 'connected') { const n = spool.next()!; spool.settled(n.segment); } }
    const c = process.cpuUsage(t0); const w = performance.now() - w0;
    const us = (c.user + c.system) / N;
    let rd = '';
    if (mode === 'cut') { const t1 = process.cpuUsage(); for (let n = spool.next(); n; n = spool.next()) spool.settled(n.segment); const d = process.cpuUsage(t1); rd = ` read back ${((d.user + d.system) / N).toFixed(1)} us/batch`; }
    console.log(rows, 'rows', data.length, 'B', mode, us.toFixed(1), 'us cpu/batch', (us / Math.max(1, rows)).toFixed(3), 'us/event', 'wall', (w * 1000 / N).toFixed(1), rd);
  }
  files.close(); rmSync(dir, { recursive: true });
}
