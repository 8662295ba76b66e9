import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FlowControl } from '../../../services/correlator/flow-control.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

it('stops reading above half of the queue and goes on below a quarter', () => {
  const stats = { queued: 0, queuedBytes: 0, acked: 0, ackedRows: 0, dropped: 0, droppedRows: 0, resent: 0 };
  const publisher = {
    publish: () => undefined,
    flush: async () => true,
    stats,
    close: () => undefined,
    release: () => [],
  };
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
