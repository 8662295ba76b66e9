// Two sinks on one store: one writes, the other takes its place.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, type TestContext, test } from 'vitest';
import { type Running, run, startStore, until } from './processes.ts';
import { flow } from './rows.ts';
import { type Setup, setUpFor } from './sink-setup.ts';

const TTL_MS = 8_000;

interface Pair {
  readonly setup: Setup;
  readonly start: () => Running;
}

/** Sinks that share a store, which is no child of theirs. */
async function sinksOf(context: TestContext): Promise<Pair> {
  const setup = await setUpFor(context);
  const store = await startStore(setup.dataDir);
  const passwordFile = join(setup.dataDir, 'password');
  writeFileSync(passwordFile, store.address.password);
  const { url, user } = store.address;
  const options = ['--server', setup.nats.url, '--store', url, '--user', user];
  const sinks: Running[] = [];
  context.onTestFinished(async () => {
    for (const one of [...sinks, store]) await one.end('SIGKILL');
  });
  return {
    setup,
    start: () => {
      const sink = run('sink', [...options, '--password-file', passwordFile]);
      sinks.push(sink);
      return sink;
    },
  };
}

const writes = (sink: Running) => sink.log().includes('reading the stream of flows');

/** Some 50 flows a second until it is stopped, which returns their number. */
function startLoad({ flows }: Setup): { stop(): number } {
  let sent = 0;
  const timer = setInterval(() => flows([flow(++sent)]), 20);
  return {
    stop() {
      clearInterval(timer);
      return sent;
    },
  };
}

/** How long nobody wrote. */
async function handOver(context: TestContext, signal: 'SIGKILL' | 'SIGTERM'): Promise<number> {
  const { setup, start } = await sinksOf(context);
  const first = start();
  await until('the first to write', () => writes(first));
  const load = startLoad(setup);
  const second = start();
  await until('the second to stand by', () =>
    setup.latest()?.notes.some((note) => note.includes('stands by')),
  );
  await sleep(500);
  expect(writes(second)).toBe(false);
  expect(await setup.ask('flows', { v: 1, last: 5 })).toHaveLength(5);
  const endedMs = performance.now();
  await first.end(signal);
  await until('the second to write', () => writes(second));
  const tookMs = performance.now() - endedMs;
  await sleep(500);
  const sent = load.stop();
  expect(await setup.stored('flows')).toEqual({ rows: sent, ids: sent });
  return tookMs;
}

// Side by side: they wait for the most part.
describe.concurrent('of two sinks that share a store', () => {
  test('the second goes on when the first is killed', { timeout: 90_000 }, async (context) => {
    const tookMs = await handOver(context, 'SIGKILL');
    expect(tookMs).toBeLessThan(TTL_MS + 4_000);
  });

  test('the second goes on at once when the first is stopped', { timeout: 90_000 }, async (context) => {
    const tookMs = await handOver(context, 'SIGTERM');
    expect(tookMs).toBeLessThan(5_000);
  });

  test('one that was stopped for longer than its lease writes no more', {
    timeout: 90_000,
  }, async (context) => {
    const { setup, start } = await sinksOf(context);
    const first = start();
    await until('the first to write', () => writes(first));
    const second = start();
    const load = startLoad(setup);
    await sleep(1_000);
    process.kill(first.pid, 'SIGSTOP');
    await until('the second to write', () => writes(second));
    await sleep(1_000);
    process.kill(first.pid, 'SIGCONT');
    await sleep(3_000);
    const sent = load.stop();
    expect(await setup.stored('flows')).toEqual({ rows: sent, ids: sent });
    expect(first.child.exitCode).toBeNull();
  });
});
