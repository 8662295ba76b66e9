import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Arrival, BatchSequence } from '../../../services/correlator/batch-sequence.ts';

function run(...arrivals: readonly (readonly [bigint, number])[]): { seen: Arrival[]; lost: number } {
  const sequence = new BatchSequence();
  const seen = arrivals.map(([sinceNs, seq]) => sequence.accept(sinceNs, seq));
  return { seen, lost: sequence.lost };
}

describe('BatchSequence', () => {
  it('takes a gapless row as it comes', () => {
    expect(run([5n, 1], [5n, 2], [5n, 3])).toEqual({ seen: ['next', 'next', 'next'], lost: 0 });
  });

  it('does not call lost what came before the first batch it ever sees', () => {
    expect(run([5n, 40], [5n, 41])).toEqual({ seen: ['next', 'next'], lost: 0 });
  });

  it('counts a gap, and takes off what comes late', () => {
    expect(run([5n, 1], [5n, 5], [5n, 3])).toEqual({ seen: ['next', 'next', 'late'], lost: 2 });
  });

  it('knows a repeat', () => {
    expect(run([5n, 1], [5n, 2], [5n, 2], [5n, 1])).toEqual({
      seen: ['next', 'next', 'repeat', 'repeat'],
      lost: 0,
    });
  });

  it('begins anew with a new run, whose first batches can be missing', () => {
    expect(run([5n, 7], [6n, 3], [6n, 1])).toEqual({ seen: ['next', 'next', 'late'], lost: 1 });
  });

  it('cannot tell what belongs to an earlier run or lies before the first batch seen', () => {
    expect(run([5n, 7], [4n, 9], [5n, 6])).toEqual({ seen: ['next', 'uncertain', 'uncertain'], lost: 0 });
  });

  it('remembers a bounded number of gaps and calls older ones uncertain', () => {
    const sequence = new BatchSequence();
    for (let seq = 1; seq <= 1_001; seq += 2) sequence.accept(1n, seq);
    expect(sequence.lost).toBe(500);
    expect(sequence.state().missing.length).toBe(64);
    expect(sequence.accept(1n, 2)).toBe('uncertain');
    expect(sequence.accept(1n, 1_000)).toBe('late');
  });

  it('takes each number once, in any order, and loses none', () => {
    const order = fc.shuffledSubarray(Array.from({ length: 60 }, (_, i) => i + 1));
    fc.assert(
      fc.property(order, fc.array(fc.nat({ max: 59 })), fc.nat({ max: 60 }), (numbers, repeats, cut) => {
        const arrivals = [1, ...numbers.map((seq) => seq + 1), ...repeats.map((i) => i + 2)];
        let sequence = new BatchSequence();
        const taken = new Set<number>();
        for (const [i, seq] of arrivals.entries()) {
          if (i === cut) {
            const copy = new BatchSequence();
            copy.restore(sequence.state());
            sequence = copy;
          }
          const arrival = sequence.accept(9n, seq);
          expect(arrival).not.toBe('uncertain');
          expect(arrival === 'repeat').toBe(taken.has(seq));
          taken.add(seq);
        }
      }),
    );
  });
});
