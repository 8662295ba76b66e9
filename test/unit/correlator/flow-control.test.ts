import { pino } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FlowControl } from '../../../services/correlator/flow-control.ts';
import { SampledLog } from '../../../services/correlator/sampled-log.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

it('stops reading above half of the queue and goes on below a quarter', () => {
  const stats = { queued: 0, queuedBytes: 0, acked: 0, ackedRows: 0, dropped: 0, droppedRows: 0, resent: 0 };
  const publisher = { publish: () => undefined, flush: async () => true, stats, close: () => undefined };
  const calls: string[] = [];
  const reader = { pause: () => calls.push('pause'), resume: () => calls.push('resume') };
  const control = new FlowControl(publisher, 1_000);
  for (const [bytes, expected] of [
    [500, ''],
    [501, 'pause'],
    [900, 'pause'],
    [251, 'pause'],
    [250, 'pause resume'],
    [500, 'pause resume'],
    [501, 'pause resume pause'],
  ] as const) {
    stats.queuedBytes = bytes;
    control.check(reader);
    vi.advanceTimersByTime(20);
    expect([bytes, calls.join(' ')]).toEqual([bytes, expected]);
  }
  expect(control.holding).toBe(true);
  control.close();
  expect(vi.getTimerCount()).toBe(0);
});

it('logs the first of each kind, then one a minute with the number left out', () => {
  const lines: { kind: string; unlogged: number }[] = [];
  const sampled = new SampledLog(pino({}, { write: (line) => void lines.push(JSON.parse(line)) }));
  for (const [kind, nowMs] of [
    ['a', 0],
    ['a', 1],
    ['b', 2],
    ['a', 59_999],
    ['a', 60_000],
    ['a', 60_001],
  ] as const)
    sampled.warn(kind, { kind }, 'set aside', nowMs);
  expect(lines.map(({ kind, unlogged }) => [kind, unlogged])).toEqual([
    ['a', 0],
    ['b', 0],
    ['a', 2],
  ]);
});
