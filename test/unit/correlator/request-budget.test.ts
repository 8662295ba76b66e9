import { expect, it } from 'vitest';
import { keepWithin } from '../../../services/correlator/request-budget.ts';

function remembering(...sizes: number[]) {
  return sizes.map((size) => ({
    size,
    dropOldest() {
      this.size--;
    },
  }));
}

it.each([
  ['one may use all of it', [1_000, 0, 0], [1_000, 0, 0]],
  ['who remembers most gives way', [900, 150, 0], [850, 150, 0]],
  ['down to the level of the next', [520, 519, 100], [450, 450, 100]],
  ['nobody gives way below the bound', [10, 500, 490], [10, 500, 490]],
])('%s', (_, before, after) => {
  const joins = remembering(...before);
  keepWithin(1_000, joins);
  expect(joins.map(({ size }) => size)).toEqual(after);
});
