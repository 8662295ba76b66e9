import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FLOW_SCHEMA, type Flow } from '../../../schemas/rows.ts';
import { flowSubject } from '../../../schemas/subjects.ts';
import { freePort, type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { sampleFlow } from '../../support/sample-flow.ts';
import { eventually, runCommand, startCommand } from './command-line.ts';
import { type FakeSink, startFakeSink } from './fake-sink.ts';

let nats: NatsServer;
let sink: FakeSink;

beforeAll(async () => {
  nats = await startNatsServer();
  sink = await startFakeSink(nats.url);
});
afterAll(async () => {
  await sink?.bus.close();
  await nats?.stop();
});
beforeEach(() => {
  const most = Number.POSITIVE_INFINITY;
  Object.assign(sink, { flows: [], error: undefined, most, delay: async () => undefined });
  sink.queries.length = 0;
});

const BASE_NS = 1_795_352_401_000_000_000n;
const flow = (n: number, change: Partial<Flow> = {}): Flow =>
  sampleFlow({
    'flowtag.flow.id': `flow-${n}`,
    'url.path': `/p/${n}`,
    time: BASE_NS + BigInt(n) * 1_000_000n,
    ...change,
  });
const flows = (count: number): Flow[] => Array.from({ length: count }, (_, n) => flow(n));
const observe = (...argv: string[]) => runCommand('--server', nats.url, 'observe', ...argv);
const paths = (stdout: string) => [...stdout.matchAll(/ (\/p\/\d+) /g)].map(([, path]) => path);

describe('history', () => {
  it('is the newest 20 by default, oldest first', async () => {
    sink.flows = flows(30);
    const { code, stdout, stderr } = await observe();
    expect([code, stderr]).toEqual([0, '']);
    expect(paths(stdout)).toEqual(
      flows(30)
        .slice(10)
        .map((each) => each['url.path']),
    );
    expect(sink.queries).toEqual([{ v: 1, last: 20 }]);
  });

  it('is read in pages that fit one message', async () => {
    // Several flows in one nanosecond lie across the page boundary.
    sink.flows = flows(1_800).map((each, n) => ({ ...each, time: BASE_NS + BigInt(Math.floor(n / 7)) }));
    const { stdout } = await observe('--last', '1700', '-o', 'json');
    const ids = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)['flowtag.flow.id']);
    expect(ids).toEqual(sink.flows.slice(-1_700).map((each) => each['flowtag.flow.id']));
    expect(sink.queries.length).toBeGreaterThan(3);
  });

  it('is read in smaller pages when the flows are larger', async () => {
    sink.flows = flows(300);
    sink.most = 110;
    const { code, stdout } = await observe('--last', '250', '-o', 'json');
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(250);
    expect(sink.queries.map((query) => 'last' in query && query.last)).toEqual([250, 110, 110, 110]);
  });

  it('passes on times', async () => {
    await observe('--since', '2026-11-22T13:00:01Z', '--until', '2026-11-22T13:00:02Z');
    const [query] = sink.queries;
    expect(query).toMatchObject({ sinceNs: BASE_NS, untilNs: BASE_NS + 1_000_000_000n });
  });

  it('explains why there is none', async () => {
    const all = await observe();
    expect([all.code, all.stdout]).toEqual([0, '']);
    expect(all.stderr).toMatch(/no flows are stored; is a target watched/);
    const since = await observe('--since', '2026-11-22T13:00:01Z');
    expect(since.stderr).toMatch(
      /no flows are stored since 2026-11-22 \d\d:00:01\.000000; try a longer time/,
    );
  });

  it('says what the sink says, escaped', async () => {
    sink.error = 'store \x1b[2J away';
    const { code, stderr } = await observe();
    expect(code).toBe(1);
    expect(stderr).toBe('flowtag: the sink cannot answer: store \\x1b[2J away\n');
  });

  it('colours only when asked, and never JSON', async () => {
    sink.flows = flows(1);
    expect((await observe('--color', 'always')).stdout).toContain('\x1b[');
    expect((await observe()).stdout).not.toContain('\x1b[');
    expect((await observe('--color', 'always', '-o', 'json')).stdout).not.toContain('\x1b');
  });
});

describe('following', () => {
  it('shows history first, then what came meanwhile, each flow once', async () => {
    sink.flows = flows(3);
    sink.delay = async () => {
      // Live while history is read; the sink has stored two of them already.
      sink.publishLive(flow(2), flow(3));
      sink.publishLive(flow(3), flow(4));
      await sleep(100);
    };
    const command = startCommand('--server', nats.url, 'observe', '-f');
    await eventually('history', () => paths(command.stdout).length === 5);
    sink.publishLive(flow(4), flow(5));
    await eventually('live', () => paths(command.stdout).length === 6);
    command.interrupt();
    expect(await command.code).toBe(0);
    expect(paths(command.stdout)).toEqual([0, 1, 2, 3, 4, 5].map((n) => `/p/${n}`));
    expect(command.stderr).toBe('');
  });

  it('goes on without a sink, and says so', async () => {
    sink.error = 'store away';
    const command = startCommand('--server', nats.url, 'observe', '-f');
    await eventually('message', () =>
      command.stderr.includes('only live flows: the sink cannot answer: store away'),
    );
    sink.publishLive(flow(1));
    await eventually('live', () => paths(command.stdout).length === 1);
    command.interrupt();
    expect(await command.code).toBe(0);
  });

  it('skips what it cannot read and says so, not for each message', async () => {
    const command = startCommand('--server', nats.url, 'observe', '-f');
    await eventually('query', () => sink.queries.length === 1);
    const subject = flowSubject('node-a', 'orders');
    for (let n = 0; n < 12; n++) sink.bus.publish(subject, 'flow.v9', new Uint8Array([1]));
    sink.bus.publish(subject, FLOW_SCHEMA, new Uint8Array([0xc1]));
    sink.publishLive(flow(1));
    await eventually('live', () => paths(command.stdout).length === 1);
    command.interrupt();
    await command.code;
    expect(command.stderr.match(/could not be read/g)).toHaveLength(2);
    expect(command.stderr).toContain('schema flow.v9 is not flow.v1');
  });

  it('ends quietly when nobody reads any more', async () => {
    sink.flows = flows(3);
    const command = startCommand('--server', nats.url, 'observe', '-f');
    await eventually('history', () => paths(command.stdout).length === 3);
    command.closeStdout();
    expect(await command.code).toBe(0);
    expect(command.stderr).toBe('');
  });

  it('survives a restart of the bus and fills the gap from history', async () => {
    const own = await startNatsServer();
    const ownSink = await startFakeSink(own.url);
    const command = startCommand('--server', own.url, 'observe', '-f');
    await eventually('query', () => ownSink.queries.length === 1);
    await own.kill9();
    await eventually('loss', () => command.stderr.includes('connection to the bus lost'));
    ownSink.flows = [flow(1, { time: BigInt(Date.now()) * 1_000_000n })];
    await own.restart();
    await eventually('the gap', () => paths(command.stdout).length === 1, 20_000);
    command.interrupt();
    expect(await command.code).toBe(0);
    expect(command.stderr).toContain('connected again');
    await ownSink.bus.close();
    await own.stop();
  });
});

describe('without a bus or a sink', () => {
  it('says what was tried and how to start, at once', async () => {
    const port = await freePort();
    const startMs = performance.now();
    const { code, stderr } = await runCommand(
      '--server',
      `nats://user:secret@127.0.0.1:${port}`,
      'observe',
      '-f',
    );
    expect(performance.now() - startMs).toBeLessThan(3_000);
    expect(code).toBe(1);
    expect(stderr).toContain(
      `no NATS server at nats://***@127.0.0.1:${port} (as given by --server or FLOWTAG_SERVER)`,
    );
    expect(stderr).toContain('ECONNREFUSED');
    expect(stderr).toContain('npm start');
  });

  it.each([
    ['silent', ''],
    ['something else', 'SSH-2.0-OpenSSH\r\n'],
  ])('gives up within three seconds on a server that is %s', async (_, greeting) => {
    const silent: Server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(greeting);
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const startMs = performance.now();
    const { code, stderr } = await runCommand('--server', `nats://127.0.0.1:${port}`, 'lookup', '10.0.0.7:1');
    expect(performance.now() - startMs).toBeLessThan(3_000);
    expect(code).toBe(1);
    expect(stderr).toContain('did not speak NATS');
    silent.close();
  });

  it('says that the sink is not there', async () => {
    const lonely = await startNatsServer();
    const { code, stderr } = await runCommand('--server', lonely.url, 'observe');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /the sink, which keeps the history, is not there; start everything with: npm start/,
    );
    await lonely.stop();
  });
});
