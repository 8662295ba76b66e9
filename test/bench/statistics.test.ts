import { expect, test } from 'vitest';
import { quartiles, ratioOfMedians } from './statistics.ts';

test('quartiles lie between ranks where there is no middle', () => {
  expect(quartiles([4, 1, 3, 2])).toEqual({ median: 2.5, lower: 1.75, upper: 3.25 });
  expect(quartiles([7])).toEqual({ median: 7, lower: 7, upper: 7 });
});

test('a ratio without spread has none, and one of noisy values says how far it may be off', () => {
  expect(ratioOfMedians([10, 10, 10], [20, 20, 20])).toEqual({ median: 0.5, lower: 0.5, upper: 0.5 });
  const noisy = ratioOfMedians([8, 9, 10, 11, 12], [16, 18, 20, 22, 24]);
  expect(noisy.median).toBe(0.5);
  expect(noisy.lower).toBeGreaterThan(0.3);
  expect(noisy.lower).toBeLessThan(0.5);
  expect(noisy.upper).toBeGreaterThan(0.5);
  expect(noisy.upper).toBeLessThan(0.8);
});
