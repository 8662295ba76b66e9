// Stands in for a service that `up` starts: heartbeats, and as `capture` also a flow every 100 ms.
// argv: role, notes and exit code as JSON, then the flags that the real one gets.
import { encodeRows, FLOW_FIELDS, FLOW_SCHEMA } from '../../../schemas/rows.ts';
import type { Status } from '../../../schemas/status.ts';
import { flowSubject } from '../../../schemas/subjects.ts';
import { connectBus } from '../../../services/runtime/bus.ts';
import { startHeartbeat } from '../../../services/runtime/heartbeat.ts';
import { runService } from '../../../services/runtime/lifecycle.ts';
import { createLogger } from '../../../services/runtime/log.ts';
import { openOps } from '../../../services/runtime/ops.ts';
import { sampleFlow } from '../../support/sample-flow.ts';

const [role, behaviour, ...flags] = process.argv.slice(2) as [Status['role'], string, ...string[]];
const { notes = [], fail } = JSON.parse(behaviour) as { notes?: string[]; fail?: number };
const log = createLogger(role, 'info');

if (fail !== undefined) {
  process.stderr.write('BTF is missing:\n  build a kernel with CONFIG_DEBUG_INFO_BTF\n');
  process.exit(fail);
}
const server = flags.find((flag) => flag.startsWith('--server='))!.slice('--server='.length);
process.exitCode = await runService(role, log, async (signal) => {
  const bus = await connectBus({ server, name: role, signal, log });
  log.warn({ flags }, 'flags');
  const startedNs = BigInt(Date.now()) * 1_000_000n;
  const beat = startHeartbeat(bus, await openOps(role, { opsListen: 'off', host: 'h' }), () => ({
    role,
    instance: role,
    host: 'h',
    startedNs,
    state: 'ready',
    notes,
    counters: {},
  }));
  let n = 0;
  const timer = setInterval(() => {
    if (role !== 'capture') return;
    const flow = sampleFlow({ 'flowtag.flow.id': `${process.pid}-${++n}` });
    bus.publish(flowSubject('node-a', 'orders'), FLOW_SCHEMA, encodeRows(FLOW_FIELDS, [flow]));
  }, 100);
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
  clearInterval(timer);
  beat.close();
  await bus.close();
});
