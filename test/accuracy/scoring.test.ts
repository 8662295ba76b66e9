// The judge itself: what counts as right, wrong and missed, on logs written by hand.
import { expect, test } from 'vitest';
import { decodeEvents, SOCKET_CONNECT } from '../../schemas/events.ts';
import { type Answer, judge, precision, recall } from '../support/accuracy.ts';
import type { DialRecord, DownstreamRequest } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { batchBytes, start } from '../unit/correlator/batches.ts';
import { KeyedRules } from './keyed-rules.ts';

const BEGAN_MS = Date.parse('2026-01-02T03:04:05Z');
const A = '127.0.0.1:40001';
const B = '127.0.0.1:40002';
/** A program that says nothing about itself. */
const SILENT = { callerFunction: '', callerFile: '', callerLine: 0, handlerFunction: '', traceparent: '' };

test('a use and a dial that are named are right, each on its level', () => {
  const truth = truthOf([use(A, '/pool/1')], [dial(A, '/pool/1')]);
  const { use: uses, dial: dials, wrong } = judge(truth, [opened(A, '/pool/1')]);
  expect([uses, dials]).toEqual([
    { of: 1, found: 1, right: 1, wrong: 0 },
    { of: 1, found: 1, right: 1, wrong: 0 },
  ]);
  expect(wrong).toBe(0);
});

test('one request dials, another uses the connection: both answers are right', () => {
  const truth = truthOf([use(A, '/pool/2', 5)], [dial(A, '/pool/1')]);
  const judgement = judge(truth, [opened(A, '/pool/1'), used(A, '/pool/2', 4)]);
  expect(judgement).toMatchObject({ wrong: 0, use: { right: 1, wrong: 0, found: 1 }, dial: { found: 1 } });
});

test('naming the user of a connection as the one who dialled it is wrong as a dial', () => {
  const truth = truthOf([use(A, '/pool/2', 5)], [dial(A, '/pool/1')]);
  expect(judge(truth, [opened(A, '/pool/2')])).toMatchObject({
    use: { found: 1, wrong: 0 },
    dial: { found: 0, right: 0, wrong: 1 },
  });
});

test('an answer that neither log backs is wrong; one without a request is none, with its reason', () => {
  const truth = truthOf([use(A, '/pool/1'), use(B, '/pool/2')]);
  const unnamed: Answer = { ...used(B, ''), path: undefined, reason: 'no_request' };
  const judgement = judge(truth, [used(A, '/pool/2'), unnamed]);
  expect(judgement).toMatchObject({ wrong: 1, unnamed: { no_request: 1 }, use: { found: 0, of: 2 } });
  expect(precision(judgement.use)).toBe(0);
  expect(recall(judgement.use)).toBe(0);
});

test('a port that is used again: each connection has its own request', () => {
  const requests = [use(A, '/fresh/1', 10), use(A, '/fresh/2', 3_010)];
  const dials = [dial(A, '/fresh/1', 0), dial(A, '/fresh/2', 3_000)];
  const truth = truthOf(requests, dials);
  const right = [opened(A, '/fresh/1', 1), opened(A, '/fresh/2', 3_001)];
  expect(judge(truth, right)).toMatchObject({ wrong: 0, use: { found: 2 }, dial: { found: 2 } });
  const swapped = [opened(A, '/fresh/2', 1), opened(A, '/fresh/1', 3_001)];
  expect(judge(truth, swapped)).toMatchObject({ dial: { found: 0, wrong: 2 } });
});

test('a request that dials twice from one port: both answers are right, a third is a repetition', () => {
  const truth = truthOf([use(A, '/fanout/1')], [dial(A, '/fanout/1', 0), dial(A, '/fanout/1', 900)]);
  const said = [opened(A, '/fanout/1', 1), opened(A, '/fanout/1', 901)];
  expect(judge(truth, said)).toMatchObject({ repeated: 0, dial: { of: 2, found: 2, right: 2, wrong: 0 } });
  expect(judge(truth, [...said, opened(A, '/fanout/1', 901)])).toMatchObject({ repeated: 1 });
});

test('a request that uses one connection several times is one use; saying it twice is a repetition', () => {
  const truth = truthOf([use(A, '/two/1'), use(A, '/two/1', 2)]);
  expect(judge(truth, [used(A, '/two/1'), used(A, '/two/1', 2)])).toMatchObject({
    use: { of: 1, found: 1 },
    repeated: 1,
  });
});

test('a refused connect must be found by the end it was bound to', () => {
  const dials = [
    { ...dial(A, '/refused/1'), kind: 'attempt' },
    { ...dial('', '/refused/1'), error: 'dial tcp 127.0.0.1:80: connect: connection refused' },
  ] as const;
  expect(judge(truthOf([], dials), [])).toMatchObject({ dial: { of: 1, found: 0 } });
  expect(judge(truthOf([], dials), [opened(A, '/refused/1')])).toMatchObject({
    dial: { found: 1 },
    wrong: 0,
  });
});

test('an attempt that lost the race may be seen or not', () => {
  const dials = [{ ...dial(A, '/dual/1'), kind: 'attempt' } as const, dial(B, '/dual/1')];
  const truth = truthOf([use(B, '/dual/1')], dials);
  for (const answers of [[opened(B, '/dual/1')], [opened(A, '/dual/1'), opened(B, '/dual/1')]])
    expect(judge(truth, answers)).toMatchObject({ wrong: 0, dial: { of: 1, found: 1, wrong: 0 } });
});

test('work of no request has no truth: naming a request for it is wrong', () => {
  const truth = truthOf([use(A, '')], [dial(A, '')]);
  expect(judge(truth, [])).toMatchObject({ use: { of: 0 }, dial: { of: 0 } });
  expect(judge(truth, [opened(A, '/pool/1')])).toMatchObject({ wrong: 1 });
});

test('without a dial log: who opened a connection that others use cannot be told, a use named wrongly can', () => {
  const truth = truthOf([use(A, '/pool/2', 5), use(B, '/pool/1', 5)]);
  const right = used(B, '/pool/1');
  expect(judge(truth, [opened(A, '/pool/1'), used(A, '/pool/2', 4), right])).toMatchObject({
    wrong: 0,
    unjudged: 1,
  });
  expect(judge(truth, [opened(A, '/pool/1'), right])).toMatchObject({ wrong: 1, unjudged: 0 });
  expect(judge(truth, [opened('127.0.0.1:9', '/elsewhere')])).toMatchObject({ wrong: 1, unjudged: 0 });
});

test('caller, handler and trace are compared on what is right', () => {
  const said = { callerFunction: 'main.get', callerFile: 'cases/outbound.go', callerLine: 7 };
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  const truth = truthOf([{ ...use(A, '/pool/1'), ...said, handlerFunction: 'main.pool', traceparent }]);
  const details = {
    caller: 'main.get cases/outbound.go:8',
    handler: 'main.pool',
    trace: `${'a'.repeat(32)}-${'b'.repeat(16)}`,
  };
  const judgement = judge(truth, [{ ...used(A, '/pool/1'), details }]);
  expect(judgement.details).toEqual({
    caller: { of: 1, right: 0 },
    handler: { of: 1, right: 1 },
    trace: { of: 1, right: 1 },
  });
  expect(judgement.problems).toEqual([
    `caller of ${A} /pool/1 is 'main.get cases/outbound.go:7', not 'main.get cases/outbound.go:8'`,
  ]);
});

test('keyed rules name the latest request of the process, or of the thread', () => {
  const rules = new KeyedRules();
  const connect = { type: SOCKET_CONNECT, localAddress: '127.0.0.1', localPort: 40_001 };
  for (const bytes of [
    batchBytes({ kind: 'uprobe', seq: 1 }, [start(1, 10n, { tid: 7 }), start(2, 20n, { tid: 8 })]),
    batchBytes({ kind: 'kprobe', seq: 2 }, [{ ...connect, timeNs: 30n, tid: 7, requestId: 1 }]),
  ]) {
    const batch = decodeEvents(bytes);
    if (typeof batch === 'string') throw new Error(batch);
    rules.accept(batch);
  }
  expect(rules.answers(4321, 'process')).toMatchObject([{ local: A, path: '/r/2', opened: true }]);
  expect(rules.answers(4321, 'thread')).toMatchObject([{ local: A, path: '/r/1' }]);
  expect(rules.answers(1, 'process')).toEqual([]);
});

function use(peer: string, requestPath: string, atMs = 1): DownstreamRequest {
  return {
    time: timeAt(atMs),
    proto: 'HTTP/1.1',
    peer,
    local: '127.0.0.1:80',
    path: '/hello',
    requestPath,
    ...SILENT,
  };
}

function dial(local: string, requestPath: string, atMs = 0): DialRecord {
  const [began, time] = [timeAt(atMs), timeAt(atMs + 1)];
  return { kind: 'dial', began, time, local, peer: '127.0.0.1:80', requestPath, error: '', ...SILENT };
}

function opened(local: string, path: string, atMs = 0): Answer {
  return { ...used(local, path, atMs), opened: true };
}

function used(local: string, path: string, atMs = 0): Answer {
  return { local, path, opened: false, timeMs: BEGAN_MS + atMs };
}

function timeAt(ms: number): string {
  return new Date(BEGAN_MS + ms).toISOString();
}
