import { expect, it } from 'vitest';
import { watchBus } from '../../../services/cli/bus-watchdog.ts';
import type { Bus } from '../../../services/runtime/bus.ts';

const TIMES = { everyMs: 1, patience: 3, graceMs: 1 };

/** Answers as scripted (true: an answer), then ends; how often the server was started again. */
async function restartsAfter(script: readonly boolean[]): Promise<number> {
  const end = new AbortController();
  const answers = [...script];
  let restarts = 0;
  const bus = {
    streamState: async () => {
      const answer = answers.shift();
      if (answers.length === 0) end.abort();
      if (!answer) throw new Error('no answer');
      return { firstSeq: 1, lastSeq: 1, created: '' };
    },
  } satisfies Pick<Bus, 'streamState'>;
  await watchBus(
    bus,
    () => restarts++,
    () => undefined,
    end.signal,
    TIMES,
  );
  return restarts;
}

it.each([
  ['answers', [true, true, true, true, true], 0],
  ['is slow now and then', [false, false, true, false, false, true, true], 0],
  ['has stopped answering', [true, false, false, false, true, true], 1],
  ['has stopped again after its restart', [false, false, false, false, false, false, true, true], 2],
] as const)('a server that %s', async (_, script, restarts) => {
  expect(await restartsAfter(script)).toBe(restarts);
});
