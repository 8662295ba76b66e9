import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Block,
  BlockCollector,
  distinct,
  type Part,
  suspects,
  without,
} from '../../../services/sink/block.ts';
import { FLOWS, REQUESTS } from '../../../services/sink/schema.ts';
import { BASE_NS, flow, hexOf, request } from '../../integration/sink/rows.ts';

const LIMITS = { maxRows: 10, maxDays: 4, maxWaitMs: 500 };

function part(seq: number, from: number, rows: number, change: Partial<Part> = {}): Part {
  const list = Array.from({ length: rows }, (_, i) => flow(from + i));
  return { table: FLOWS, seq, rows: list, suspect: false, days: [1, 1], ...change };
}

const boundaries = (blocks: readonly Block[]) => blocks.map(({ first, last, rows }) => [first, last, rows]);

describe('closing', () => {
  test('by rows', () => {
    const collector = new BlockCollector(LIMITS);
    expect(collector.add(5, part(5, 1, 4), 0)).toEqual([]);
    expect(boundaries(collector.add(6, part(6, 5, 30), 0))).toEqual([[5, 6, 34]]);
    expect(collector.dueMs).toBeUndefined();
  });

  test('by days', () => {
    const collector = new BlockCollector(LIMITS);
    expect(collector.add(1, part(1, 1, 1, { days: [3, 5] }), 0)).toEqual([]);
    expect(boundaries(collector.add(2, part(2, 2, 1, { days: [9, 9] }), 0))).toEqual([[1, 2, 2]]);
    expect(collector.add(3, part(3, 3, 1), 0)).toEqual([]);
  });

  test('by the age of its first message, of which nothing may have been readable', () => {
    const collector = new BlockCollector(LIMITS);
    collector.add(1, undefined, 100);
    collector.add(2, part(2, 1, 1), 590);
    expect(collector.dueMs).toBe(600);
    expect(collector.due(599)).toEqual([]);
    expect(boundaries(collector.due(600))).toEqual([[1, 2, 1]]);
    expect(collector.due(10_000)).toEqual([]);
  });

  test('at the end, whatever it has', () => {
    const collector = new BlockCollector(LIMITS);
    expect(collector.close()).toEqual([]);
    collector.add(1, part(1, 1, 1), 0);
    expect(boundaries(collector.close())).toEqual([[1, 1, 1]]);
  });
});

describe('a fixed boundary', () => {
  test('is kept, whatever size and age say', () => {
    const collector = new BlockCollector(LIMITS, { first: 3, last: 5 });
    expect(collector.add(3, part(3, 1, 50), 0)).toEqual([]);
    expect(collector.due(10_000)).toEqual([]);
    expect(collector.close()).toEqual([]);
    expect(collector.add(4, undefined, 0)).toEqual([]);
    expect(boundaries(collector.add(5, part(5, 51, 1), 0))).toEqual([[3, 5, 51]]);
    expect(boundaries(collector.add(6, part(6, 52, 10), 0))).toEqual([[6, 6, 10]]);
  });

  test('whose messages were discarded is closed by the next one', () => {
    const collector = new BlockCollector(LIMITS, { first: 3, last: 5 });
    collector.add(4, part(4, 1, 1), 0);
    expect(boundaries(collector.add(7, part(7, 2, 10), 0))).toEqual([
      [3, 5, 1],
      [7, 7, 10],
    ]);
  });
});

test('every message is in one block, blocks are in order, and a second reading with the same boundaries gives the same', () => {
  const messages = fc.array(
    fc.record({
      gap: fc.integer({ min: 1, max: 3 }),
      rows: fc.integer({ min: 0, max: 12 }),
      waitMs: fc.integer({ min: 0, max: 700 }),
    }),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(
    fc.property(messages, (list) => {
      const parts: Part[] = [];
      let seq = 0;
      for (const { gap, rows } of list) {
        seq += gap;
        parts.push(part(seq, seq * 100, rows));
      }
      const collector = new BlockCollector(LIMITS);
      const blocks: Block[] = [];
      let nowMs = 0;
      for (const [i, one] of parts.entries()) {
        nowMs += list[i]!.waitMs;
        blocks.push(...collector.due(nowMs), ...collector.add(one.seq, one, nowMs));
      }
      blocks.push(...collector.close());
      expect(blocks.flatMap((block) => block.parts)).toEqual(parts);
      for (const [i, block] of blocks.entries())
        expect(block.first).toBeGreaterThan(blocks[i - 1]?.last ?? 0);
      const chosen = blocks[Math.floor(blocks.length / 2)]!;
      const again = new BlockCollector({ ...LIMITS, maxRows: 3 }, chosen);
      const repeated = parts
        .filter((one) => one.seq >= chosen.first)
        .flatMap((one) => again.add(one.seq, one, 0));
      expect(repeated[0]).toEqual(chosen);
    }),
  );
});

describe('repeats', () => {
  test('an id comes once a block and table, the first time it is seen', () => {
    const parts: Part[] = [
      part(1, 1, 3),
      { ...part(2, 1, 0), table: REQUESTS, rows: [request(1)] },
      part(3, 2, 3),
    ];
    const { parts: kept, repeated } = distinct(FLOWS, parts);
    expect(kept.map((one) => one.rows.map((row) => row['flowtag.flow.id']))).toEqual([
      [1, 2, 3].map((n) => hexOf(n)),
      [hexOf(4)],
    ]);
    expect(repeated).toBe(2);
    expect(distinct(REQUESTS, parts).parts).toHaveLength(1);
  });

  test('only suspect rows are asked for, in the span they lie in, and left out', () => {
    const parts = [part(1, 100, 1), part(2, 5, 3, { suspect: true })];
    expect(suspects(FLOWS, [parts[0]!])).toBeUndefined();
    expect(suspects(FLOWS, parts)).toEqual({
      ids: [5, 6, 7].map((n) => hexOf(n)),
      fromNs: BASE_NS + 500_000n,
      uptoNs: BASE_NS + 700_000n,
    });
    const left = without(FLOWS, parts, new Set([hexOf(6), hexOf(100)]));
    expect(left.map(({ rows }) => rows.length)).toEqual([1, 2]);
  });
});
