// Processes killed, servers gone, disks full, in the middle of a load: each row is stored, and stored once.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { until } from './processes.ts';
import { flow, request } from './rows.ts';
import { type Setup, setUpFor } from './sink-setup.ts';

// Side by side: each waits for the most part, and each has a bus, a sink and a store of its own.
describe.concurrent('under load', () => {
  test('kill -9 of the sink, three times', async (context) => {
    const setup = await setUpFor(context);
    let sink = setup.startSink();
    const load = startLoad(setup);
    for (let kill = 0; kill < 3; kill++) {
      await progress(setup);
      await sleep(150 * kill); // early and late in the half second that a block is open
      await sink.end('SIGKILL');
      sink = setup.startSink();
    }
    await expectAllStored(setup, await load.stop());
  });

  test('kill -9 of the store, three times; the sink says so and goes on', async (context) => {
    const setup = await setUpFor(context);
    const sink = setup.startSink();
    await until('ready', () => setup.latest()?.state === 'ready');
    const load = startLoad(setup);
    for (let kill = 0; kill < 3; kill++) {
      await progress(setup);
      await sleep(150 * kill);
      const pid = setup.storePid();
      process.kill(pid, 'SIGKILL');
      await until('another store', () => setup.storePid() !== pid);
    }
    await expectAllStored(setup, await load.stop());
    expect(sink.child.exitCode).toBe(null);
    await until('ready again', () => setup.latest()?.state === 'ready', 8_000);
  });

  test('kill -9 of the bus, twice', async (context) => {
    const setup = await setUpFor(context);
    const sink = setup.startSink();
    const load = startLoad(setup);
    for (let kill = 0; kill < 2; kill++) {
      await progress(setup);
      await setup.nats.kill9();
      await sleep(300);
      await setup.nats.restart();
    }
    await expectAllStored(setup, await load.stop());
    expect(sink.child.exitCode).toBe(null);
  });

  test.skipIf(process.getuid?.() !== 0)(
    'a full disk: degraded, nothing lost, goes on once there is room',
    async (context) => {
      const dataDir = mkdtempSync(join(tmpdir(), 'flowtag-full-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', dataDir]);
      context.onTestFinished(() => {
        execFileSync('umount', ['-l', dataDir]);
        rmdirSync(dataDir);
      });
      const setup = await setUpFor(context, { dataDir });
      const { latest } = setup;
      const sink = setup.startSink();
      for (let m = 0; m < 20; m++) publish(setup, m);
      await setup.stored('flows');
      const pid = setup.storePid();
      const ballast = join(dataDir, 'ballast');
      fill(ballast);
      for (let m = 20; m < 420; m++) publish(setup, m);
      await until(
        'degraded',
        () => latest()?.state === 'degraded' && latest()?.notes.some((note) => /space/i.test(note)),
        20_000,
      );
      await sleep(500);
      expect(sink.child.exitCode).toBe(null);
      rmSync(ballast);
      await expectAllStored(setup, 420);
      await until('ready again', () => latest()?.state === 'ready', 10_000);
      expect(setup.storePid()).toBe(pid);
    },
  );

  test('Ctrl-C stores what was read, and leaves no process; kill -9 takes the store along', async (context) => {
    const setup = await setUpFor(context);
    const sink = setup.startSink();
    await until('ready', () => setup.latest()?.state === 'ready');
    const pid = setup.storePid();
    setup.flows([flow(1)]);
    expect(await setup.publisher.flush(5_000)).toBe(true);
    // Read by then, but its block is open for longer.
    await sleep(200);
    process.kill(-sink.pid, 'SIGINT');
    await until('the sink to end', () => sink.child.exitCode !== null);
    expect(sink.child.exitCode).toBe(0);
    expect(alive(pid)).toBe(false);
    const next = setup.startSink();
    await until('another store', () => setup.counts('flows').catch(() => undefined));
    expect(await setup.position()).toBe(2); // stored by the first: the next has nothing to do
    expect(await setup.counts('flows')).toEqual({ rows: 1, ids: 1 });
    const nextPid = setup.storePid();
    await next.end('SIGKILL');
    await until('the store to end', () => !alive(nextPid), 3_000);
  });
});

/** Message `m`, from 0: 50 flows and, in another, 10 requests. */
function publish({ flows, requests }: Setup, m: number): void {
  flows(Array.from({ length: 50 }, (_, i) => flow(1 + m * 50 + i)));
  requests(Array.from({ length: 10 }, (_, i) => request(1 + m * 10 + i)));
}

/** Some 75 pairs of messages a second until it is stopped, which returns their number. */
function startLoad(setup: Setup): { stop(): Promise<number> } {
  let sent = 0;
  const timer = setInterval(() => {
    for (const end = sent + 5; sent < end; sent++) publish(setup, sent);
  }, 66);
  return {
    async stop() {
      clearInterval(timer);
      expect(await setup.publisher.flush(30_000)).toBe(true);
      return sent;
    },
  };
}

async function expectAllStored({ stored }: Setup, messages: number): Promise<void> {
  expect(await stored('flows')).toEqual({ rows: 50 * messages, ids: 50 * messages });
  expect(await stored('requests')).toEqual({ rows: 10 * messages, ids: 10 * messages });
}

/** Until a sink has stored something since the call. */
async function progress({ position }: Setup): Promise<void> {
  const before = await until('a position', () => position().catch(() => undefined));
  await until('progress', async () => (await position().catch(() => 0)) > before);
}

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
