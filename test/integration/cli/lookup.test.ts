import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chooseServer } from '../../../services/cli/server-choice.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { sampleFlow } from '../../support/sample-flow.ts';
import { runCommand } from './command-line.ts';
import { type FakeSink, startFakeSink } from './fake-sink.ts';

let nats: NatsServer;
let sink: FakeSink;
let dataDir: string;

beforeAll(async () => {
  nats = await startNatsServer();
  sink = await startFakeSink(nats.url);
  dataDir = mkdtempSync(join(tmpdir(), 'flowtag-lookup-'));
});
afterAll(async () => {
  rmSync(dataDir, { recursive: true, force: true });
  await sink?.bus.close();
  await nats?.stop();
});
beforeEach(() => {
  sink.flows = [sampleFlow()];
  sink.most = Number.POSITIVE_INFINITY;
  sink.queries.length = 0;
  rmSync(join(dataDir, 'up.json'), { force: true });
});

const lookup = (...argv: string[]) => runCommand('lookup', '--server', nats.url, ...argv);

describe('lookup', () => {
  it('prints the flows of a connection', async () => {
    const { code, stdout, stderr } = await lookup('10.0.0.7:40522');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('GET /v1/orders/42 | 10.0.0.7:40522 -> 10.0.0.9:5432 new +2.1ms lineage/2\n');
    expect(sink.queries).toEqual([
      { v: 1, ends: [{ address: '10.0.0.7', port: 40_522 }], windowNs: 300_000_000_000n, limit: 500 },
    ]);
  });

  it('asks for both ends, a time and a window', async () => {
    await lookup(
      '[::ffff:10.0.0.9]:5432',
      '10.0.0.7:40522',
      '--at',
      '2026-11-22T13:00:01Z',
      '--window',
      '90s',
    );
    expect(sink.queries[0]).toEqual({
      v: 1,
      ends: [
        { address: '10.0.0.9', port: 5432 },
        { address: '10.0.0.7', port: 40_522 },
      ],
      atNs: 1_795_352_401_000_000_000n,
      windowNs: 90_000_000_000n,
      limit: 500,
    });
  });

  it('puts the request first that was using the connection at the time asked for, and says so', async () => {
    const at = (second: number, path: string) =>
      sampleFlow({ time: 1_795_352_400_000_000_000n + BigInt(second) * 1_000_000_000n, 'url.path': path });
    sink.flows = [at(0, '/before'), at(1, '/then'), at(3, '/later')];
    const ask = (...argv: string[]) => lookup('10.0.0.7:40522', '10.0.0.9:5432', ...argv);
    const order = (stdout: string) => [...stdout.matchAll(/GET (\S+)/g)].map(([, path]) => path);
    const then = await ask('--at', '2026-11-22T13:00:02Z');
    expect(order(then.stdout)).toEqual(['/then', '/before', '/later']);
    expect(then.stderr).toMatch(
      /the first flow is the last seen on the connection by 2026-11-22 \d\d:00:02\.000000; the others follow, the newest last/,
    );
    const early = await ask('--at', '2026-11-22T12:59:00Z');
    expect(order(early.stdout)).toEqual(['/before', '/then', '/later']);
    expect(early.stderr).toMatch(/nothing used it before .* in this --window: these flows came later/);
    const now = await ask();
    expect([order(now.stdout), now.stderr]).toEqual([['/before', '/then', '/later'], '']);
  });

  it('shows as many as an answer can carry, and says that there may be more', async () => {
    sink.flows = Array.from({ length: 40 }, () => sampleFlow());
    sink.most = 30;
    const { code, stdout, stderr } = await lookup('10.0.0.7:40522');
    expect([code, stdout.trim().split('\n').length]).toEqual([0, 30]);
    expect(stderr).toMatch(/there may be more: these are the 30 nearest to now/);
  });

  it('says plainly that nothing was found, where it looked and what to try', async () => {
    sink.flows = [];
    const { code, stdout, stderr } = await lookup(
      '10.0.0.7:40522',
      '--at',
      '2026-11-22T13:00:01Z',
      '--window',
      '1m',
    );
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /nothing found for 10\.0\.0\.7:40522 between 2026-11-22 \d\d:59:01\.000000 and 2026-11-22 \d\d:01:01\.000000/,
    );
    expect(stderr).toContain('try a longer --window');
  });
});

describe('finding the bus', () => {
  it('uses what `up` left in the data directory', async () => {
    writeFileSync(join(dataDir, 'up.json'), JSON.stringify({ server: nats.url, pid: process.pid }));
    expect((await runCommand('--data-dir', dataDir, 'lookup', '10.0.0.7:40522')).code).toBe(0);
  });

  it('does not trust what a dead one left', () => {
    writeFileSync(
      join(dataDir, 'up.json'),
      JSON.stringify({ server: 'nats://127.0.0.1:1', pid: 4_194_304 }), // above every pid that Linux gives
    );
    expect(chooseServer(undefined, dataDir)).toEqual({
      server: 'nats://127.0.0.1:4222',
      origin: `the default: ${dataDir}/up.json is left over from pid 4194304, which is gone`,
    });
  });

  it.each(['', '{', '{"server":7}', 'null'])('takes %j in up.json for nothing', (text) => {
    writeFileSync(join(dataDir, 'up.json'), text);
    expect(chooseServer(undefined, dataDir).server).toBe('nats://127.0.0.1:4222');
  });

  it('prefers what is given', () => {
    writeFileSync(join(dataDir, 'up.json'), JSON.stringify({ server: nats.url, pid: process.pid }));
    expect(chooseServer('nats://10.0.0.1:4222', dataDir).server).toBe('nats://10.0.0.1:4222');
  });
});
