// The sink as a process: what is published is stored once and can be asked for, what is wrong is set aside.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { deadLetterSubject } from '../../../schemas/subjects.ts';
import { run, startStore, storeAddress, temporaryDir, until } from './processes.ts';
import { BASE_NS, flow, hexOf, request } from './rows.ts';
import { type Setup, setUp } from './sink-setup.ts';

let setup: Setup | undefined;
afterEach(async () => {
  await setup?.close();
  setup = undefined;
});

const range = (from: number, upto: number) => Array.from({ length: upto - from }, (_, i) => from + i);

test('flows and requests are stored within a second or so, and looked up over the bus', async () => {
  setup = await setUp();
  const { flows, requests, ask, stored, latest } = setup;
  const sink = setup.startSink();
  await until('ready', () => latest()?.state === 'ready');
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
  expect(await stored('requests', 20)).toEqual({ rows: 20, ids: 20 });
  await until('counted', () => latest()?.counters.requests_stored === 20, 8_000);
  expect(latest()!.counters).toMatchObject({
    flows_stored: 50,
    messages_read: 2,
    blocks_stored: expect.any(Number),
  });

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

  const pid = setup.storePid();
  expect(await sink.end('SIGTERM')).toBe(0);
  expect(() => process.kill(pid, 0)).toThrow();
});

test('an answer larger than the bus can carry says how to ask', async () => {
  setup = await setUp();
  setup.startSink();
  const path = `/${'long'.repeat(200)}`;
  for (const from of range(0, 10))
    setup.flows(range(1, 201).map((n) => flow(from * 200 + n, { 'url.path': path })));
  await setup.stored('flows', 2000);
  expect(await setup.ask('flows', { v: 1, last: 2000 })).toMatch(/ask for about \d+ at a time/);
  expect(await setup.ask('flows', { v: 1, last: 500 })).toHaveLength(500);
});

test('what cannot be stored is set aside, counted, and holds nothing up', async () => {
  setup = await setUp();
  const { flows, publisher, bus, latest } = setup;
  const dead: { subject: string; seq: string | undefined; data: string }[] = [];
  bus.subscribe('flowtag.dead.>', (message) => {
    dead.push({
      subject: message.subject,
      seq: message.header('Flowtag-Dead-Seq'),
      data: Buffer.from(message.data).toString(),
    });
  });
  const send = (schema: string, data: string) =>
    publisher.publish({
      subject: 'flowtag.flow.node-a.orders',
      schema,
      data: Buffer.from(data),
      messageId: `${schema}-${data}`,
      rows: 1,
    });
  flows([flow(1)]);
  send('flow.v1', 'not MessagePack');
  send('flow.v9', 'from the future');
  send('', 'no schema');
  flows([flow(2, { 'network.local.address': 'nowhere' })]);
  flows([flow(3, { time: 10n ** 19n })]);
  flows([flow(4)]);
  setup.startSink();
  expect(await setup.stored('flows', 2)).toEqual({ rows: 2, ids: 2 });
  const [malformed, unknown, unstorable] = ['malformed', 'unknown_schema', 'unstorable'].map((reason) =>
    deadLetterSubject('sink', reason),
  );
  expect(dead.map(({ subject, seq }) => [subject, seq])).toEqual([
    [malformed, '2'],
    [unknown, '3'],
    [unknown, '4'],
    [unstorable, '5'],
    [unstorable, '6'],
  ]);
  expect(dead[0]!.data).toBe('not MessagePack');
  await until('counted', () => latest()?.counters.dead_letters_unknown_schema === 2, 8_000);
  expect(latest()!.counters).toMatchObject({
    dead_letters_malformed: 1,
    dead_letters_unknown_schema: 2,
    dead_letters_unstorable: 2,
  });
});

test('clocks that are days off do not hold up the stream', async () => {
  setup = await setUp();
  setup.startSink();
  const day = 86_400_000_000_000n;
  for (const n of range(1, 71)) setup.flows([flow(n, { time: BASE_NS + BigInt(n) * day })]);
  // In one message it cannot be a clock.
  setup.flows([flow(1001), flow(1002, { time: BASE_NS + 9n * day })]);
  setup.flows([flow(1003)]);
  expect(await setup.stored('flows', 71)).toEqual({ rows: 71, ids: 71 });
  await until('counted', () => setup!.latest()?.counters.dead_letters_unstorable === 1, 8_000);
});

describe('other ways to start', () => {
  test('with a ClickHouse that is there already', async () => {
    setup = await setUp();
    const store = await startStore(setup.dataDir);
    const passwordFile = join(setup.dataDir, 'password');
    writeFileSync(passwordFile, `${store.address.password}\n`);
    const { url, user } = store.address;
    const own = temporaryDir();
    onTestFinished(own.remove);
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
    expect(await setup.stored('flows', 1)).toEqual({ rows: 1, ids: 1 });
    expect(await sink.end('SIGTERM')).toBe(0);
    expect(await store.end('SIGTERM')).toBe(0);
  });

  test('without a bus it waits, and stops when told', async () => {
    const own = temporaryDir();
    onTestFinished(own.remove);
    const sink = run('sink', ['--server', 'nats://127.0.0.1:9', '--data-dir', own.dir]);
    const { pid } = await storeAddress(own.dir);
    expect(await sink.end('SIGTERM')).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow();
  });

  test('without the engine it says what to install', async () => {
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
});

describe('repeats', () => {
  test('inside a block, and in messages marked as replayed', async () => {
    setup = await setUp();
    setup.flows([flow(1), flow(1), flow(2)]);
    setup.flows([flow(2), flow(3)]);
    setup.startSink();
    expect(await setup.stored('flows', 3)).toEqual({ rows: 3, ids: 3 });
    // Another correlator publishes them again, cut differently, with news among them.
    setup.flows([flow(3), flow(4), flow(1)], { headers: { 'Flowtag-Replay': '1' } });
    setup.flows([flow(5)]);
    expect(await setup.stored('flows', 5)).toEqual({ rows: 5, ids: 5 });
  });

  test('after the position was lost, everything is read again and nothing stored twice', async () => {
    setup = await setUp();
    const { bus, flows, requests, stored } = setup;
    for (const n of range(0, 20)) {
      flows(range(0, 100).map((i) => flow(1 + n * 100 + i)));
      requests(range(0, 10).map((i) => request(1 + n * 10 + i)));
    }
    const first = setup.startSink();
    await stored('flows', 2000);
    await stored('requests', 200);
    await first.end('SIGTERM');
    await bus.request('$JS.API.STREAM.DELETE.KV_FLOWTAG_SINK', '', Buffer.alloc(0), 3_000);
    flows([flow(5000)]);
    setup.startSink();
    expect(await stored('flows', 2001)).toEqual({ rows: 2001, ids: 2001 });
    expect(await stored('requests', 200)).toEqual({ rows: 200, ids: 200 });
  });
});

test('a stream that was created anew is read from its first message', async () => {
  setup = await setUp();
  const { bus, flows, stored } = setup;
  flows([flow(1), flow(2)]);
  const sink = setup.startSink();
  await stored('flows', 2);
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
  expect(await stored('flows', 3)).toEqual({ rows: 3, ids: 3 });
});

test('of two sinks on one bus, one goes', async () => {
  setup = await setUp();
  const other = temporaryDir();
  onTestFinished(other.remove);
  const { flows, latest } = setup;
  const first = setup.startSink();
  await until('ready', () => latest()?.state === 'ready');
  flows([flow(1)]);
  await setup.stored('flows', 1);
  const second = run('sink', ['--server', setup.nats.url, '--data-dir', other.dir]);
  await until('the second to read', () => /reading the stream/.test(second.log()));
  const sent = setInterval(() => flows([flow(2 + Math.floor(Math.random() * 1e9))]), 100);
  try {
    const ended = await until(
      'one to end',
      () => [first, second].find((sink) => sink.child.exitCode !== null),
      20_000,
    );
    expect(ended.child.exitCode).toBe(1);
    expect(ended.log()).toMatch(/FENCED.*Another sink took over/);
  } finally {
    clearInterval(sent);
    await second.end('SIGKILL');
  }
});
