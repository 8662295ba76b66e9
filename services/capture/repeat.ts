// A task again and again until a signal: never two at once, and never more than a hundredth of the time.
import { setTimeout as sleep } from 'node:timers/promises';

export async function repeat(everyMs: number, signal: AbortSignal, task: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    const beganMs = performance.now();
    await task();
    const tookMs = performance.now() - beganMs;
    await sleep(Math.max(everyMs, 100 * tookMs), undefined, { signal }).catch(() => undefined);
  }
}
