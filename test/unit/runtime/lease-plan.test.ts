import fc from 'fast-check';
import { expect, it } from 'vitest';
import { planLeases, shareOf } from '../../../services/runtime/bus-lease-plan.ts';

const NAMES = Array.from({ length: 32 }, (_, n) => `p${n}`);
const members = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 8 });

/** Name to owner, as each member computes it for itself. */
function owners(all: readonly string[]): Map<string, string> {
  const pairs = all.flatMap((self) => shareOf(self, all, NAMES).map((name) => [name, self] as const));
  expect(pairs).toHaveLength(NAMES.length);
  return new Map(pairs);
}

it('gives each name to exactly one member, whatever the order of the list', () => {
  fc.assert(
    fc.property(members, (all) => {
      expect(owners(all.toReversed())).toEqual(new Map([...owners(all)].reverse()));
      expect(new Set(owners(all).keys())).toEqual(new Set(NAMES));
    }),
  );
});

it('moves only what a new member gets, or what one that leaves had', () => {
  fc.assert(
    fc.property(members, fc.string({ minLength: 21, maxLength: 30 }), (all, newcomer) => {
      const [before, after] = [owners(all), owners([...all, newcomer])];
      for (const [name, owner] of after) if (owner !== newcomer) expect(before.get(name)).toBe(owner);
    }),
  );
});

it('spreads evenly: over many fleets each member has its part, and hardly one has nothing', () => {
  const shares: number[] = [];
  for (let fleet = 0; fleet < 300; fleet++) {
    const all = [1, 2, 3, 4].map((n) => `correlator-host=3A${1000 + fleet * 7 + n}`);
    for (const self of all) shares.push(shareOf(self, all, NAMES).length);
  }
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const deviation = Math.sqrt(shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / shares.length);
  expect(mean).toBe(8);
  // Of a binomial distribution, 32 times one of four: 2.45.
  expect(deviation).toBeGreaterThan(2);
  expect(deviation).toBeLessThan(2.9);
  expect(shares.filter((share) => share === 0)).toEqual([]);
});

it('takes what is free, waits for what others hold, gives back what is no longer its own', () => {
  const plan = planLeases(['a', 'b', 'c'], new Set(['b', 'c', 'd']), new Set(['c', 'd']));
  expect(plan).toEqual({ take: ['a'], awaited: ['b'], release: ['d'] });
});
