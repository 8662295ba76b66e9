import { expect, it } from 'vitest';
import { numberRanges } from '../../../services/correlator/number-ranges.ts';

it.each([
  [[], ''],
  [[4], '4'],
  [[3, 1, 2, 0], '0-3'],
  [[10, 9, 7, 0, 1, 3], '0-1, 3, 7, 9-10'],
])('%j is written as %j', (numbers, text) => {
  expect(numberRanges(numbers)).toBe(text);
});
