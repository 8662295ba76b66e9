import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { settledWithin } from '../../../services/runtime/deadline.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('settledWithin', () => {
  it.each([
    ['resolves', () => Promise.resolve()],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('ends with a promise that %s, and leaves no timer', async (_, promise) => {
    await settledWithin(promise(), 1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends at the deadline', async () => {
    const waiting = settledWithin(new Promise(() => undefined), 1_000);
    await vi.advanceTimersByTimeAsync(1_000);
    await waiting;
    expect(vi.getTimerCount()).toBe(0);
  });
});
