// Processes killed, servers gone, disks full, in the middle of a load: each row is stored, and stored once.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { type Running, startStore, until } from './processes.ts';
import { flow, request } from './rows.ts';
import { type Setup, setUp } from './sink-setup.ts';

let setup: Setup | undefined;
const undo: (() => void)[] = [];
afterEach(async () => {
  await setup?.close();
  setup = undefined;
  for (const step of undo.splice(0).reverse()) step();
});

/** `messages` of 50 flows and 10 requests each, spread over some seconds. Flow and request numbers start at 1. */
async function load({ flows, requests }: Setup, messages: number, pauseMs: number, from = 0): Promise<void> {
  for (let m = from; m < from + messages; m++) {
    flows(Array.from({ length: 50 }, (_, i) => flow(1 + m * 50 + i)));
    requests(Array.from({ length: 10 }, (_, i) => request(1 + m * 10 + i)));
    if (m % 5 === 0) await sleep(pauseMs);
  }
}

test('kill -9 of the sink, five times under load', async () => {
  setup = await setUp();
  let sink: Running = setup.startSink();
  const loading = load(setup, 1000, 30);
  for (let kill = 0; kill < 5; kill++) {
    await sleep(900 + 250 * kill);
    await sink.end('SIGKILL');
    sink = setup.startSink();
  }
  await loading;
  expect(await setup.publisher.flush(20_000)).toBe(true);
  expect(await setup.stored('flows', 50_000)).toEqual({ rows: 50_000, ids: 50_000 });
  expect(await setup.stored('requests', 10_000)).toEqual({ rows: 10_000, ids: 10_000 });
});

test('kill -9 of the store, three times under load; the sink says so and goes on', async () => {
  setup = await setUp();
  const sink = setup.startSink();
  await until('ready', () => setup!.latest()?.state === 'ready');
  const loading = load(setup, 900, 30);
  for (let kill = 0; kill < 3; kill++) {
    await sleep(1500);
    const pid = setup.storePid();
    process.kill(pid, 'SIGKILL');
    await until('another store', () => setup!.storePid() !== pid);
  }
  await loading;
  expect(await setup.stored('flows', 45_000)).toEqual({ rows: 45_000, ids: 45_000 });
  expect(await setup.stored('requests', 9_000)).toEqual({ rows: 9_000, ids: 9_000 });
  expect(sink.child.exitCode).toBe(null);
  await until('ready again', () => setup!.latest()?.state === 'ready', 8_000);
});

test('kill -9 of the bus, twice', async () => {
  setup = await setUp();
  const sink = setup.startSink();
  const loading = load(setup, 900, 30);
  for (let kill = 0; kill < 2; kill++) {
    await sleep(1500);
    await setup.nats.kill9();
    await sleep(500);
    await setup.nats.restart();
  }
  await loading;
  expect(await setup.publisher.flush(30_000)).toBe(true);
  expect(await setup.stored('flows', 45_000)).toEqual({ rows: 45_000, ids: 45_000 });
  expect(sink.child.exitCode).toBe(null);
});

test('Ctrl-C stores what was read, and leaves no process', async () => {
  setup = await setUp();
  const sink = setup.startSink();
  await until('ready', () => setup!.latest()?.state === 'ready');
  const pid = setup.storePid();
  setup.flows([flow(1)]);
  expect(await setup.publisher.flush(5_000)).toBe(true);
  // Read by then, but its block is open for longer.
  await sleep(200);
  process.kill(-sink.pid, 'SIGINT');
  await until('the sink to end', () => sink.child.exitCode !== null);
  expect(sink.child.exitCode).toBe(0);
  expect(alive(pid)).toBe(false);
  const store = await startStore(setup.dataDir);
  expect(await setup.counts('flows')).toEqual({ rows: 1, ids: 1 });
  await store.end('SIGTERM');
});

test('a sink that is killed takes its store along', async () => {
  setup = await setUp();
  const sink = setup.startSink();
  await until('the store to open', () => setup!.latest()?.notes.length === 0);
  const pid = setup.storePid();
  await sink.end('SIGKILL');
  await until('the store to end', () => !alive(pid), 3_000);
});

test.skipIf(process.getuid?.() !== 0)(
  'a full disk: degraded, nothing lost, goes on once there is room',
  async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'flowtag-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', dataDir]);
    undo.push(
      () => rmdirSync(dataDir),
      () => execFileSync('umount', ['-l', dataDir]),
    );
    setup = await setUp({ dataDir });
    const { latest } = setup;
    const sink = setup.startSink();
    await load(setup, 20, 30);
    await setup.stored('flows', 1000);
    const pid = setup.storePid();
    const ballast = join(dataDir, 'ballast');
    fill(ballast);
    await load(setup, 400, 5, 20);
    await until(
      'degraded',
      () => latest()?.state === 'degraded' && latest()?.notes.some((note) => /space/i.test(note)),
      20_000,
    );
    await sleep(2_000);
    expect(sink.child.exitCode).toBe(null);
    rmSync(ballast);
    expect(await setup.stored('flows', 21_000)).toEqual({ rows: 21_000, ids: 21_000 });
    expect(await setup.stored('requests', 4_200)).toEqual({ rows: 4_200, ids: 4_200 });
    await until('ready again', () => latest()?.state === 'ready', 10_000);
    expect(setup.storePid()).toBe(pid);
  },
);

/** Until nothing more fits. */
function fill(path: string): void {
  for (let bytes = 1 << 20; bytes >= 4096; bytes /= 2)
    for (;;)
      try {
        writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' });
      } catch {
        break;
      }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
