import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { repeat } from '../../../services/capture/repeat.ts';

describe('a repeated task', () => {
  it('runs again and again, never twice at once, until the signal', async () => {
    const stop = new AbortController();
    let running = 0;
    let most = 0;
    let runs = 0;
    await repeat(1, stop.signal, async () => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      if (++runs === 5) stop.abort();
    });
    expect([runs, most]).toEqual([5, 1]);
  });

  it('rests a hundred times as long as it took', async () => {
    const stop = new AbortController();
    const began: number[] = [];
    await repeat(0, stop.signal, async () => {
      began.push(performance.now());
      if (began.length === 2) stop.abort();
      await sleep(4);
    });
    expect(began[1]! - began[0]!).toBeGreaterThan(300);
  });

  it('stops at once in the middle of its rest', async () => {
    const stop = new AbortController();
    const began = performance.now();
    setTimeout(() => stop.abort(), 20);
    await repeat(60_000, stop.signal, async () => undefined);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it('does not start when it is stopped already, and passes a failure on', async () => {
    let runs = 0;
    await repeat(1, AbortSignal.abort(), async () => void runs++);
    expect(runs).toBe(0);
    const failing = repeat(1, new AbortController().signal, () => Promise.reject(new Error('broken')));
    await expect(failing).rejects.toThrow('broken');
  });
});
