// A task again and again until a signal: never two at once, and no more than a hundredth of the time unless that
// would make the pauses long.
import { setTimeout as sleep } from 'node:timers/promises';

const MAX_PAUSE_MS = 2_000;

export async function repeat(everyMs: number, signal: AbortSignal, task: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    const beganMs = performance.now();
    await task();
    const tookMs = performance.now() - beganMs;
    await sleep(Math.max(everyMs, Math.min(100 * tookMs, MAX_PAUSE_MS)), undefined, { signal }).catch(
      () => undefined,
    );
  }
}
