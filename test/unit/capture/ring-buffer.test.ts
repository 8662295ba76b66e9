import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RingBuffer } from '../../../services/capture/ring-buffer.ts';
import { type Reserved, RingProducer } from './ring-memory.ts';

const SIZE = 256;

/** Reads every record as text. */
function read(ring: RingBuffer, producer: RingProducer, max = 1_000): string[] {
  const memory = Buffer.from(producer.memory.data.buffer);
  const records: string[] = [];
  const count = ring.drain(max, (offset, length) =>
    records.push(memory.toString('latin1', offset, offset + length)),
  );
  expect(count).toBe(records.length);
  return records;
}

function put(producer: RingProducer, text: string): void {
  producer.commit(producer.reserve(text.length)!, Buffer.from(text));
}

type Step =
  | { readonly do: 'reserve'; readonly length: number }
  | { readonly do: 'commit' | 'discard'; readonly which: number }
  | { readonly do: 'drain'; readonly max: number };

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('reserve' as const), length: fc.nat(60) }),
    fc.record({
      do: fc.constantFrom('commit' as const, 'commit' as const, 'discard' as const),
      which: fc.nat(),
    }),
    fc.record({ do: fc.constant('drain' as const), max: fc.integer({ min: 1, max: 5 }) }),
  ),
  { minLength: 20, maxLength: 300 },
);
/** Ends of the ring and of 32-bit positions, and far beyond. */
const positions = fc.constantFrom(0, SIZE - 8, 2 ** 31 - 16, 2 ** 32 - 40, 2 ** 33 + 8, 2 ** 52);

describe('the ring', () => {
  it('delivers every committed record once and in order, whatever producers do meanwhile', () => {
    fc.assert(
      fc.property(steps, positions, (all, position) => {
        const { delivered, expected, open, backlog } = simulate(all, position);
        expect(delivered).toEqual(expected);
        expect(open).toBe(0);
        expect(backlog).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('stops at a record that is still being written, and says so', () => {
    const producer = new RingProducer(SIZE);
    const ring = new RingBuffer(producer.memory);
    put(producer, 'first');
    const busy = producer.reserve(4)!;
    put(producer, 'third');
    expect(read(ring, producer)).toEqual(['first']);
    expect(ring.blocked).toBe(true);
    producer.commit(busy, Buffer.from('2nd!'));
    expect(read(ring, producer)).toEqual(['2nd!', 'third']);
    expect(ring.blocked).toBe(false);
  });

  it('delivers at most `max`, without counting discarded records, and the rest the next time', () => {
    const producer = new RingProducer(SIZE);
    const ring = new RingBuffer(producer.memory);
    producer.discard(producer.reserve(8)!);
    for (const text of ['a', 'b', 'c']) put(producer, text);
    expect(read(ring, producer, 2)).toEqual(['a', 'b']);
    expect(ring.backlogBytes).toBe(16);
    expect(ring.blocked).toBe(false);
    expect(read(ring, producer, 2)).toEqual(['c']);
  });

  it('gives space back, also that of discarded records', () => {
    const producer = new RingProducer(SIZE);
    const ring = new RingBuffer(producer.memory);
    for (let round = 0; round < 50; round++) {
      producer.discard(producer.reserve(100)!);
      put(producer, 'x'.repeat(100));
      expect(producer.reserve(100)).toBeUndefined();
      expect(read(ring, producer)).toEqual(['x'.repeat(100)]);
    }
  });

  it('delivers a record that crosses the end of the memory in one piece', () => {
    const producer = new RingProducer(SIZE, SIZE - 16);
    put(producer, 'x'.repeat(50));
    expect(read(new RingBuffer(producer.memory), producer)).toEqual(['x'.repeat(50)]);
  });

  it('goes on where an earlier reader stopped', () => {
    const producer = new RingProducer(SIZE, 2 ** 32 - 16);
    put(producer, 'before');
    read(new RingBuffer(producer.memory), producer);
    put(producer, 'after');
    const ring = new RingBuffer(producer.memory);
    expect(ring.backlogBytes).toBe(16);
    expect(read(ring, producer)).toEqual(['after']);
  });
});

/** Runs the steps, then finishes what is reserved and reads to the end. */
function simulate(all: readonly Step[], position: number) {
  const producer = new RingProducer(SIZE, position);
  const ring = new RingBuffer(producer.memory);
  const records: { reserved: Reserved; text: string; kept?: boolean }[] = [];
  const delivered: string[] = [];
  const unfinished = () => records.filter(({ kept }) => kept === undefined);
  const finish = (record: (typeof records)[number], kept: boolean) => {
    record.kept = kept;
    if (kept) producer.commit(record.reserved, Buffer.from(record.text));
    else producer.discard(record.reserved);
  };
  for (const step of all) {
    if (step.do === 'reserve') {
      const text = `${records.length}`.padEnd(step.length, '.');
      const reserved = producer.reserve(text.length);
      if (reserved) records.push({ reserved, text });
    } else if (step.do === 'drain') delivered.push(...read(ring, producer, step.max));
    else {
      const open = unfinished();
      if (open.length > 0) finish(open[step.which % open.length]!, step.do === 'commit');
    }
  }
  for (const record of unfinished()) finish(record, true);
  delivered.push(...read(ring, producer));
  const expected = records.filter(({ kept }) => kept).map(({ text }) => text);
  return { delivered, expected, open: unfinished().length, backlog: ring.backlogBytes };
}
