// Jobs that go to worker goroutines through channels, and values that only look like jobs. Truth: the downstream's log.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { VIA } from '../../schemas/events.ts';
import { Capture, type SocketRow } from '../support/capture.ts';
import {
  type Downstream,
  type DownstreamRequest,
  runLoad,
  startDownstream,
  startProgram,
  targetPath,
} from '../support/targets.ts';

const REQUESTS = 300;
const CLIENTS = 60;
const WORKERS = targetPath('workers');
let downstream: Downstream;

beforeAll(async () => {
  downstream = await startDownstream();
});
afterAll(() => downstream.stop());

interface Seen {
  /** Connection and request, as capture says; rows that name no request are left out. */
  readonly named: ReadonlyMap<string, SocketRow>;
  /** The same, as the downstream says; calls for nobody are left out. */
  readonly truth: ReadonlySet<string>;
  readonly forNobody: number;
}

async function run(path: string, options = { channels: true }): Promise<Seen> {
  const server = await startProgram(WORKERS, [
    '-listen',
    '127.0.0.1:0',
    '-downstream',
    `http://${downstream.listen}`,
    '-case',
    path,
  ]);
  const capture = await Capture.open({ ...options, maxContexts: 16_384, ringBytes: 8 << 20 });
  try {
    const before = (await downstream.requests()).length;
    await capture.attach(WORKERS, server.pid);
    await runLoad({ server, path, requests: REQUESTS, clients: CLIENTS });
    await capture.until(() => capture.ends.length === REQUESTS);
    await sleep(100); // connects are told when they are decided, which the server does not wait for
    return compared(capture, (await downstream.requests()).slice(before));
  } finally {
    await capture.close();
    await server.stop();
  }
}

function compared({ starts, connects, uses }: Capture, calls: readonly DownstreamRequest[]): Seen {
  const paths = new Map(starts.map(({ id, path }) => [id, path]));
  const asked = calls.filter(({ requestPath }) => requestPath !== '/nobody');
  const truth = new Set(asked.map(({ peer, requestPath }) => `${peer} ${requestPath}`));
  const named = new Map<string, SocketRow>();
  for (const row of [...connects, ...uses]) {
    if (row.requestId === 0) continue;
    const key = `${row.local} ${paths.get(row.requestId)}`;
    // A pool opens connections for one request that another one uses: the log does not tell for whom.
    if (truth.has(key) || row.via !== VIA.dial || !POOLS.has(paths.get(row.requestId)!.split('/')[1]!))
      named.set(key, row);
  }
  return { named, truth, forNobody: calls.length - asked.length };
}

const POOLS = new Set(['pooled', 'shared']);

function wrongOf({ named, truth }: Seen): string[] {
  return [...named.keys()].filter((key) => !truth.has(key));
}

function recallOf({ named, truth }: Seen): number {
  return [...named.keys()].filter((key) => truth.has(key)).length / truth.size;
}

test.each([
  ['/unbuffered', 'a pool that waits for its jobs'],
  ['/buffered', 'jobs that wait for their pool'],
  ['/saturated', 'both in turn'],
  ['/pooled', 'over connections that the workers share'],
  ['/raw', 'by the worker itself'],
  ['/select', 'from one of two channels, through another goroutine'],
  ['/token-job', 'jobs that wait for tokens'],
  ['/mixed', 'among jobs of nobody'],
  ['/waking', 'among signals without a value'],
  ['/ticking', 'among ticks'],
])('%s: all jobs belong to their requests, %s', async (path) => {
  const seen = await run(path);
  expect(wrongOf(seen)).toEqual([]);
  expect(recallOf(seen)).toBe(1);
  expect(seen.forNobody > 0).toBe(['/mixed', '/waking', '/ticking'].includes(path));
});

test.each([
  ['/semaphore', 'the right to go on', 1],
  ['/token', 'a number', 1],
  ['/result', 'the result of its job', 1],
  ['/fanout', 'the results of its goroutines', 1],
  ['/shared', 'responses and connections, in net/http', 1],
  // The request's own goroutine goes on; for those that it started nobody knows, unless it was their own request's.
  ['/resource', 'what others have had before', 1 / 3],
  ['/notified', 'news of nobody or of another request', 1 / 2],
])('%s: a request stays with its goroutines when they receive %s', async (path, _, recall) => {
  const seen = await run(path);
  expect(wrongOf(seen)).toEqual([]);
  expect(recallOf(seen)).toBeGreaterThanOrEqual(recall);
});

test('workers that the first request started work for the others, too, as soon as it has ended', async () => {
  const seen = await run('/lazy');
  expect(wrongOf(seen)).toEqual([]);
  expect(recallOf(seen)).toBeGreaterThan(0.7);
});

test('jobs that are known by a number alone belong to nobody, not to the request before', async () => {
  const seen = await run('/numbers');
  expect(wrongOf(seen)).toEqual([]);
  expect(recallOf(seen)).toBeCloseTo(0.5, 6);
});

test('says how the worker came to its request, and what its handler was', async () => {
  const { named } = await run('/raw');
  for (const row of named.values())
    expect(row).toMatchObject({ via: VIA.channel, depth: 1, handler: expect.stringContaining('answering') });
});

test('workers are left alone where nobody asked', async () => {
  const { named, truth } = await run('/raw', { channels: false });
  expect([...named.keys()]).toEqual([]);
  expect(truth.size).toBe(REQUESTS);
});
