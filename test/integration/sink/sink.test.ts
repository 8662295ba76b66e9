// The sink as a process: what is published is stored once and can be asked for, what is wrong is set aside.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deadLetterSubject } from '../../../schemas/subjects.ts';
import { type Running, run, startStore, storeAddress, temporaryDir, until } from './processes.ts';
import { BASE_NS, flow, hexOf, request } from './rows.ts';
import { type Setup, setUp, setUpFor } from './sink-setup.ts';

const range = (from: number, upto: number) => Array.from({ length: upto - from }, (_, i) => from + i);

// One sink for all of these, in this order: the counts add up.
describe('a sink at work', () => {
  let setup: Setup;
  let sink: Running;
  beforeAll(async () => {
    setup = await setUp();
    sink = setup.startSink();
    await until('ready', () => setup.latest()?.state === 'ready');
  });
  afterAll(() => setup.close());

  test('stores flows and requests within a second or so, and finds them', async () => {
    const { flows, requests, ask, stored } = setup;
    flows(range(1, 51).map((n) => flow(n)));
    requests(range(1, 21).map((n) => request(n)));
    const startMs = performance.now();
    const query = {
      v: 1,
      ends: [
        { address: '10.0.0.9', port: 5432 },
        { address: '10.0.0.7', port: 1027 },
      ],
      windowNs: 10n ** 12n,
      limit: 5,
    };
    await until('a look-up to find it', async () => (await ask('lookup', query)).length === 1, 5_000);
    expect(performance.now() - startMs).toBeLessThan(3_000);
    expect(await ask('lookup', query)).toEqual([flow(3)]);
    expect(await ask('flows', { v: 1, last: 2 })).toEqual([flow(49), flow(50)]);
    expect(await stored('requests')).toEqual({ rows: 20, ids: 20 });

    const bad: [unknown, RegExp][] = [
      [{ v: 1, last: 0 }, /last/],
      [{ v: 2, last: 1 }, /v/],
      ['text', /expected object/],
    ];
    for (const [asked, problem] of bad) expect(await ask('flows', asked)).toMatch(problem);
    expect(await ask('flows', { v: 1, last: 1 }, 'api.v9')).toMatch(/api\.v9/);
    expect(await ask('lookup', { ...query, ends: [{ address: 'localhost', port: 80 }] })).toMatch(
      /not an IP address/,
    );
    expect(await ask('lookup', { ...query, traceId: hexOf(1) })).toMatch(/exactly one/);
  });

  test('sets aside what cannot be stored, and it holds nothing up', async () => {
    const { flows, publisher, bus } = setup;
    const dead: { subject: string; seq: number; data: string }[] = [];
    const listening = bus.subscribe('flowtag.dead.>', ({ subject, header, data }) => {
      dead.push({ subject, seq: Number(header('Flowtag-Dead-Seq')), data: Buffer.from(data).toString() });
    });
    const send = (schema: string, data: string) =>
      publisher.publish({
        subject: 'flowtag.flow.node-a.orders',
        schema,
        data: Buffer.from(data),
        messageId: `${schema}-${data}`,
        rows: 1,
      });
    const first = (await bus.streamState('FLOWTAG_FLOW')).lastSeq + 1;
    flows([flow(101)]);
    send('flow.v1', 'not MessagePack');
    send('flow.v9', 'from the future');
    send('', 'no schema');
    flows([flow(102, { 'network.local.address': 'nowhere' })]);
    flows([flow(103, { time: 10n ** 19n })]);
    flows([flow(104)]);
    expect(await setup.stored('flows')).toEqual({ rows: 52, ids: 52 });
    await until('the dead letters', () => dead.length >= 5);
    listening.close();
    const [malformed, unknown, unstorable] = ['malformed', 'unknown_schema', 'unstorable'].map((reason) =>
      deadLetterSubject('sink', reason),
    );
    expect(dead.map(({ subject, seq }) => [subject, seq - first])).toEqual([
      [malformed, 1],
      [unknown, 2],
      [unknown, 3],
      [unstorable, 4],
      [unstorable, 5],
    ]);
    expect(dead[0]!.data).toBe('not MessagePack');
  });

  test('is not held up by clocks that are days off', async () => {
    const day = 86_400_000_000_000n;
    for (const n of range(1, 71)) setup.flows([flow(200 + n, { time: BASE_NS + BigInt(n) * day })]);
    // In one message it cannot be a clock.
    setup.flows([flow(301), flow(302, { time: BASE_NS + 9n * day })]);
    setup.flows([flow(303)]);
    expect(await setup.stored('flows')).toEqual({ rows: 123, ids: 123 });
  });

  test('says how to ask when an answer is larger than the bus can carry', async () => {
    const path = `/${'long'.repeat(200)}`;
    for (const from of range(5, 15))
      setup.flows(range(1, 201).map((n) => flow(from * 200 + n, { 'url.path': path })));
    expect(await setup.stored('flows')).toEqual({ rows: 2123, ids: 2123 });
    expect(await setup.ask('flows', { v: 1, last: 2000 })).toMatch(/ask for about \d+ at a time/);
    expect(await setup.ask('flows', { v: 1, last: 500 })).toHaveLength(500);
  });

  test('counts all of it', async () => {
    const { latest } = setup;
    await until('counted', () => latest()?.counters.flows_stored === 2123, 8_000);
    expect(latest()!.counters).toMatchObject({
      requests_stored: 20,
      messages_read: 2 + 7 + 72 + 10,
      blocks_stored: expect.any(Number),
      dead_letters_malformed: 1,
      dead_letters_unknown_schema: 2,
      dead_letters_unstorable: 3,
    });
  });

  test('ends when told, and its store with it', async () => {
    const pid = setup.storePid();
    expect(await sink.end('SIGTERM')).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow();
  });
});

// Side by side: they wait for the most part.
describe.concurrent('a sink', () => {
  test('starts with a ClickHouse that is there already', async (context) => {
    const setup = await setUpFor(context);
    const store = await startStore(setup.dataDir);
    const passwordFile = join(setup.dataDir, 'password');
    writeFileSync(passwordFile, `${store.address.password}\n`);
    const { url, user } = store.address;
    const own = temporaryDir();
    context.onTestFinished(own.remove);
    const sink = run('sink', [
      '--server',
      setup.nats.url,
      '--data-dir',
      own.dir,
      '--store',
      url,
      '--user',
      user,
      '--password-file',
      passwordFile,
    ]);
    setup.flows([flow(1)]);
    expect(await setup.stored('flows')).toEqual({ rows: 1, ids: 1 });
    expect(await sink.end('SIGTERM')).toBe(0);
    expect(await store.end('SIGTERM')).toBe(0);
  });

  test('without a bus it waits, and stops when told', async ({ onTestFinished }) => {
    const own = temporaryDir();
    onTestFinished(own.remove);
    const sink = run('sink', ['--server', 'nats://127.0.0.1:9', '--data-dir', own.dir]);
    const { pid } = await storeAddress(own.dir);
    expect(await sink.end('SIGTERM')).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow();
  });

  test('without the engine it says what to install', async ({ onTestFinished }) => {
    const own = temporaryDir();
    onTestFinished(own.remove);
    const register = join(import.meta.dirname, 'without-chdb.ts');
    const args = ['--server', 'nats://127.0.0.1:9', '--data-dir', own.dir];
    const sink = run('sink', args, ['--import', register]);
    await until('the sink to end', () => sink.child.exitCode !== null);
    expect(sink.child.exitCode).toBe(3);
    expect(sink.log()).toMatch(/STORE_ENGINE_MISSING.*npm install --include=optional/);
    expect(sink.log()).toMatch(/STORE_CANNOT_START/);
  });

  test('with options it does not understand it says which', async () => {
    const sink = run('sink', ['--store', 'file:///x', '--retention-days', '0', '--nope']);
    await until('the sink to end', () => sink.child.exitCode !== null);
    expect(sink.child.exitCode).toBe(2);
    expect(sink.log()).toMatch(/--nope[\s\S]*--store[\s\S]*--retention-days/);
  });

  test('drops repeats inside a block, and in messages marked as replayed', async (context) => {
    const setup = await setUpFor(context);
    setup.flows([flow(1), flow(1), flow(2)]);
    setup.flows([flow(2), flow(3)]);
    setup.startSink();
    expect(await setup.stored('flows')).toEqual({ rows: 3, ids: 3 });
    // Another correlator publishes them again, cut differently, with news among them.
    setup.flows([flow(3), flow(4), flow(1)], { headers: { 'Flowtag-Replay': '1' } });
    setup.flows([flow(5)]);
    expect(await setup.stored('flows')).toEqual({ rows: 5, ids: 5 });
  });

  test('reads everything again after the position was lost, and stores nothing twice', async (context) => {
    const setup = await setUpFor(context);
    const { bus, flows, requests, stored } = setup;
    for (const n of range(0, 20)) {
      flows(range(0, 100).map((i) => flow(1 + n * 100 + i)));
      requests(range(0, 10).map((i) => request(1 + n * 10 + i)));
    }
    const first = setup.startSink();
    await stored('flows');
    await stored('requests');
    await first.end('SIGTERM');
    await bus.request('$JS.API.STREAM.DELETE.KV_FLOWTAG_SINK', '', Buffer.alloc(0), 3_000);
    flows([flow(5000)]);
    setup.startSink();
    expect(await stored('flows')).toEqual({ rows: 2001, ids: 2001 });
    expect(await stored('requests')).toEqual({ rows: 200, ids: 200 });
  });

  test('reads a stream that was created anew from its first message', async (context) => {
    const setup = await setUpFor(context);
    const { bus, flows, stored } = setup;
    flows([flow(1), flow(2)]);
    const sink = setup.startSink();
    await stored('flows');
    const info = await bus.request('$JS.API.STREAM.INFO.FLOWTAG_FLOW', '', Buffer.alloc(0), 3_000);
    const { config } = JSON.parse(Buffer.from(info.data).toString());
    await bus.request('$JS.API.STREAM.DELETE.FLOWTAG_FLOW', '', Buffer.alloc(0), 3_000);
    await bus.request('$JS.API.STREAM.CREATE.FLOWTAG_FLOW', '', Buffer.from(JSON.stringify(config)), 3_000);
    flows([flow(3)]);
    // Either it ends and says so, or it was not noticed before the end: a supervisor starts it again.
    await Promise.race([
      until('the sink to end', () => sink.child.exitCode !== null, 20_000),
      sleep(8_000),
    ]).catch(() => {});
    await sink.end('SIGTERM');
    setup.startSink();
    expect(await stored('flows')).toEqual({ rows: 3, ids: 3 });
  });

  test('leaves the rows where they are: a sink with another store of its own does not go on', async (context) => {
    const setup = await setUpFor(context);
    const other = temporaryDir();
    context.onTestFinished(other.remove);
    const { flows, latest, nats } = setup;
    const first = setup.startSink();
    flows([flow(1)]);
    await setup.stored('flows');
    await first.end('SIGTERM');
    const elsewhere = ['--server', nats.url, '--data-dir', other.dir];
    const second = run('sink', elsewhere);
    await until('refusal', () => latest()?.notes.some((note) => note.includes('in another store')));
    expect(latest()?.state).toBe('degraded');
    expect(await second.end('SIGTERM')).toBe(0);
    flows([flow(2)]);
    setup.startSink();
    expect(await setup.stored('flows')).toEqual({ rows: 2, ids: 2 });
  });
});
