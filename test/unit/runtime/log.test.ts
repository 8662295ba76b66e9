import { describe, expect, it } from 'vitest';
import { isWorthLogging, Recurrence } from '../../../services/runtime/log.ts';

const timesOf = (worth: (n: number) => boolean) =>
  Array.from({ length: 20 }, (_, n) => n + 1).filter((n) => worth(n));

describe('what is worth a line', () => {
  it('is the 1st, 2nd, 4th, 8th time', () => {
    expect(timesOf(isWorthLogging)).toEqual([1, 2, 4, 8, 16]);
  });

  it('is counted anew after a calm minute', () => {
    const recurrence = new Recurrence();
    expect(timesOf((n) => recurrence.isWorthLogging(n * 59_999))).toEqual([1, 2, 4, 8, 16]);
    expect(recurrence.isWorthLogging(20 * 59_999 + 59_999)).toBe(false);
    expect(recurrence.isWorthLogging(21 * 59_999 + 60_000)).toBe(true);
  });
});
