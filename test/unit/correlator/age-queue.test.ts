import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AgeQueue } from '../../../services/correlator/age-queue.ts';

interface Item {
  readonly n: number;
  gone: boolean;
}

describe('AgeQueue', () => {
  it('behaves like a list from which some are taken out', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('push' as const), times: fc.nat({ max: 400 }) }),
      fc.record({ do: fc.constant('shift' as const), times: fc.nat({ max: 300 }) }),
      fc.record({
        do: fc.constant('leave' as const),
        at: fc.nat({ max: 2_000 }),
        times: fc.nat({ max: 300 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const queue = new AgeQueue<Item>();
        let model: Item[] = [];
        let n = 0;
        for (const one of steps)
          for (let i = 0; i < one.times; i++) {
            if (one.do === 'push') {
              const item = { n: n++, gone: false };
              queue.push(item);
              model.push(item);
            } else if (one.do === 'shift') {
              expect(queue.shift()).toBe(model.shift());
            } else if (model.length > 0) {
              const item = model[one.at % model.length]!;
              item.gone = true;
              queue.noteGone();
              model = model.filter((other) => other !== item);
            }
          }
        expect(queue.size).toBe(model.length);
        expect(queue.oldest()).toBe(model[0]);
        expect([...queue]).toEqual(model);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps no more than about twice the living', () => {
    const queue = new AgeQueue<Item>();
    const first = { n: 0, gone: false };
    queue.push(first); // would keep everything behind it
    for (let n = 1; n < 100_000; n++) {
      const item = { n, gone: false };
      queue.push(item);
      item.gone = true;
      queue.noteGone();
    }
    expect(queue.size).toBe(1);
    expect((queue as unknown as { items: Item[] }).items.length).toBeLessThan(2_048);
  });
});
