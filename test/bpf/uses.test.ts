// What happens on connections that are open already, and how connections begin and end. Truth: the downstream's log.
import { request } from 'node:http';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { FLAG, VIA } from '../../schemas/events.ts';
import { Capture, type SocketRow } from '../support/capture.ts';
import {
  type Cases,
  type CasesOptions,
  type Downstream,
  startCases,
  startDownstream,
  targetPath,
} from '../support/targets.ts';

const ECONNREFUSED = 111;
const SWEEP_EVERY_MS = 1_000; // SWEEP_EVERY_NS in bpf/context.h
let downstream: Downstream;
let cases: Cases;
let capture: Capture;

beforeAll(async () => {
  downstream = await startDownstream();
});

afterAll(async () => {
  await downstream.stop();
});

afterEach(async () => {
  await capture.close();
  await cases.stop();
});

async function start(options: CasesOptions = {}): Promise<void> {
  cases = await startCases(downstream, options);
  capture = await Capture.open();
  await capture.attach(targetPath('cases'), cases.pid);
}

/** On a connection of its own, so that each request has a goroutine of its own. */
function get(path: string): Promise<void> {
  return new Promise((done, failed) => {
    const call = request(`http://${cases.listen}${path}`, { agent: false }, (response) =>
      response.resume().on('end', done),
    );
    call.on('error', failed).end();
  });
}

/** Waits for the request's end, and a little for what else there may be. */
async function ended(path: string): Promise<number> {
  const id = () => capture.starts.find((start) => start.path === path)?.id;
  await capture.until(() => capture.ends.some((end) => end.id === id()));
  await new Promise((done) => setTimeout(done, 50));
  return id()!;
}

async function peerOf(path: string): Promise<string> {
  const seen = (await downstream.requests()).filter(({ requestPath }) => requestPath === path);
  expect(seen.length, path).toBeGreaterThan(0);
  return seen[0]!.peer;
}

const of = (rows: readonly SocketRow[], id: number) => rows.filter(({ requestId }) => requestId === id);

test.each([
  ['HTTP/1.1 keep-alive', '/pool', VIA.pooled],
  ['HTTPS keep-alive', '/tls', VIA.pooled],
  ['a POST of 20 kB', '/post', VIA.pooled],
  ['HTTP/2', '/h2', VIA.lineage],
  ['a raw connection out of a pool', '/rawpool', VIA.direct],
])('%s: the second request re-uses the connection that the first one opened', async (_, path, via) => {
  await start();
  await get(`${path}/1`);
  const first = await ended(`${path}/1`);
  await get(`${path}/2`);
  const second = await ended(`${path}/2`);

  expect(of(capture.connects, first).map(({ local }) => local)).toEqual([await peerOf(`${path}/1`)]);
  expect(of(capture.uses, first)).toEqual([]);
  expect(of(capture.connects, second)).toEqual([]);
  expect(capture.uses).toHaveLength(1);
  const [use] = capture.uses;
  expect(use).toMatchObject({ requestId: second, local: await peerOf(`${path}/2`), via, flags: 0 });
  expect(use!.connection).toBe(capture.connects[0]!.connection);
  const [call] = (await downstream.requests()).filter(({ requestPath }) => requestPath === `${path}/2`);
  expect([use!.function, use!.handler]).toEqual([call!.callerFunction, call!.handlerFunction]);
});

test('two calls of one request on the same connection are one use', async () => {
  await start();
  await get('/two/1');
  await ended('/two/1');
  await get('/two/2');
  const second = await ended('/two/2');
  expect(capture.uses.map(({ requestId }) => requestId)).toEqual([second]);
});

test('a refused connection says so, with both ends and how long it took', async () => {
  await start();
  await get('/refused/1').catch(() => undefined);
  const id = await ended('/refused/1');
  const [attempt] = of(capture.connects, id);
  expect(attempt).toMatchObject({ errno: ECONNREFUSED, peer: cases.refused });
  expect(attempt!.local).not.toMatch(/:0$/);
  expect(attempt!.durationNs).toBeGreaterThan(0);
  expect(of(capture.closes, id)).toEqual([]);
});

test('a connection that ends tells how long it lived, and who had opened it', async () => {
  await start();
  await get('/fresh/1');
  const id = await ended('/fresh/1');
  await capture.until(() => of(capture.closes, id).length > 0);
  const [connect] = of(capture.connects, id);
  const [close] = of(capture.closes, id);
  expect(connect).toMatchObject({ errno: 0, local: await peerOf('/fresh/1') });
  expect(close).toMatchObject({ local: connect!.local, connection: connect!.connection });
  expect(close!.durationNs).toBe(Number(close!.timeNs - connect!.timeNs));
  expect(connect!.durationNs).toBeLessThan(close!.durationNs);
});

test.each(['/pool', '/tls', '/h2', '/rawpool'])(
  'connections older than capture: %s is used by the right request, and says that it is older',
  async (path) => {
    await start({ warm: 2 });
    await get(`${path}/warm`);
    const id = await ended(`${path}/warm`);
    expect(capture.connects).toEqual([]);
    const [use] = of(capture.uses, id);
    expect(use).toMatchObject({ local: await peerOf(`${path}/warm`), flags: FLAG.predatesCapture });
    expect(of(capture.uses, id)).toHaveLength(1);
  },
);

test('answers to requests are no uses, also on connections older than capture', async () => {
  cases = await startCases(downstream);
  const agentless = () => get('/none/x');
  await agentless();
  capture = await Capture.open();
  await capture.attach(targetPath('cases'), cases.pid);
  await agentless();
  await ended('/none/x');
  expect(capture.uses).toEqual([]);
});

test('what a program does for no request is attributed to none', async () => {
  await start();
  await get('/workers/1');
  await ended('/workers/1');
  await get('/workers/2');
  await ended('/workers/2');
  expect(capture.connects.length).toBeGreaterThan(0);
  expect([...capture.connects, ...capture.uses].filter(({ requestId }) => requestId !== 0)).toEqual([]);
});

test('once its probes are taken off, the connections of a program say that its requests are not seen', async () => {
  cases = await startCases(downstream);
  capture = await Capture.open({ maxHits: 100 });
  await capture.attach(targetPath('cases'), cases.pid);
  await capture.executables.enforceBudget(0);
  for (let i = 0; i < 100; i++) await get(`/none/${i}`);
  expect(await capture.executables.enforceBudget(1000)).toHaveLength(1);
  await capture.until(() => capture.starts.length === 100);
  await get('/fresh/blind');
  await capture.until(() => capture.connects.length > 0);
  expect(capture.starts).toHaveLength(100);
  expect(capture.connects).toMatchObject([{ requestId: 0, flags: FLAG.notInstrumented }]);
});

test('when a context is lost because the map is full, the use says so', async () => {
  cases = await startCases(downstream);
  capture = await Capture.open({ maxContexts: 16 });
  await capture.attach(targetPath('cases'), cases.pid);
  await get('/rawpool/first');
  const first = await ended('/rawpool/first');
  // More at once than there is room for, until one that finds none uses the connection.
  for (let round = 0; round < 20 && !capture.uses.some(({ requestId }) => requestId === 0); round++) {
    const paths = Array.from({ length: 120 }, (_, i) => `${i % 4 ? '/slow' : '/rawpool'}/full-${round}-${i}`);
    await Promise.all(paths.map(get));
    await new Promise((done) => setTimeout(done, 50));
  }
  expect(of(capture.connects, first)).toHaveLength(1);
  const lost = capture.uses.filter(({ requestId }) => requestId === 0);
  expect(lost.length).toBeGreaterThan(0);
  for (const use of lost) expect(use.flags).toBe(FLAG.mapFull);
});

test('when the map was full of goroutines that are gone, there is room for the next ones', async () => {
  cases = await startCases(downstream);
  capture = await Capture.open({ maxContexts: 64 });
  await capture.attach(targetPath('cases'), cases.pid);
  await Promise.all(Array.from({ length: 300 }, (_, i) => get(`/slow/burst-${i}`)));
  await new Promise((done) => setTimeout(done, SWEEP_EVERY_MS));
  for (let i = 0; i < 5; i++) {
    await get(`/fresh/later-${i}`);
    const request = await ended(`/fresh/later-${i}`);
    expect(of(capture.connects, request)).toHaveLength(1);
  }
});
