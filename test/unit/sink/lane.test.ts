import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Lane, LaneFullError } from '../../../services/sink/embedded/lane.ts';

test('at most `width` at a time, in order of arrival, also after failures', async () => {
  const lane = new Lane(2, 10);
  const begun: number[] = [];
  let running = 0;
  let most = 0;
  const task = (n: number) =>
    lane.run(async () => {
      begun.push(n);
      most = Math.max(most, ++running);
      await sleep(2);
      running -= 1;
      if (n % 3 === 0) throw new Error('no');
      return n;
    });
  const results = await Promise.allSettled(Array.from({ length: 12 }, (_, n) => task(n)));
  expect(begun).toEqual(Array.from({ length: 12 }, (_, n) => n));
  expect(most).toBe(2);
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(8);
});

test('refuses what would wait behind too many', async () => {
  const lane = new Lane(1, 1);
  const first = lane.run(() => sleep(5, 1));
  const second = lane.run(async () => 2);
  await expect(lane.run(async () => 3)).rejects.toBeInstanceOf(LaneFullError);
  expect(await Promise.all([first, second])).toEqual([1, 2]);
  expect(await lane.run(async () => 4)).toBe(4);
});
