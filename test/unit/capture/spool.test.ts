import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeEvents } from '../../../schemas/events.ts';
import { Spool } from '../../../services/capture/spool.ts';
import type { Outbound } from '../../../services/runtime/bus.ts';
import { History, KINDS, LIMITS, message, RECORD_BYTES, step } from './spool-history.ts';
import { MemoryDisk } from './spool-memory.ts';

/** What a spool gives, settled at once. */
function drain(spool: Spool): Outbound[] {
  const messages: Outbound[] = [];
  for (let next = spool.next(); next; next = spool.next()) {
    messages.push(next.message);
    spool.settled(next.segment);
  }
  return messages;
}

const runOf = ({ messageId }: Outbound): string => messageId.split('.')[0]!;
const idsOf = (messages: readonly Outbound[]): string[] => messages.map(({ messageId }) => messageId);
const idsUpTo = (run: number, end: number, from = 1): string[] =>
  Array.from({ length: end - from + 1 }, (_, i) => `${run}.${from + i}`);

function fill(disk: MemoryDisk, run: number, count: number): Spool {
  const spool = new Spool(disk, String(run), LIMITS);
  for (let seq = 1; seq <= count; seq++) spool.append(message(run, seq, 'kprobe', 3));
  return spool;
}

function droppedIn({ data }: Outbound): Readonly<Record<string, number>> {
  const batch = decodeEvents(data);
  if (typeof batch === 'string') throw new Error(batch);
  return batch.ledger.dropped;
}

describe('the spool', () => {
  it('gives in order what it took, or counts it, whatever happens to its process', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const history = new History();
        for (const one of steps) history.play(one);
        history.start();
        while (history.take()) history.settle();

        const order = new Map(history.appended.map(({ messageId }, at) => [messageId, at]));
        for (const given of history.given) {
          const places = given.map(({ messageId }) => order.get(messageId));
          expect(places).toEqual([...new Set(places)].sort((a, b) => a! - b!)); // in order, and once
        }
        const given = history.given.flat();
        const everGiven = new Set(idsOf(given));
        const missing = history.appended.filter(({ messageId }) => !everGiven.has(messageId));
        // Given by a process that ended: may still have been on disk, and have had to go from there.
        const givenBefore = new Set(idsOf(history.given.slice(0, -1).flat()));
        const doubtful = history.appended.filter(({ messageId }) => givenBefore.has(messageId));
        for (const run of new Set(history.appended.map(runOf)))
          for (const kind of KINDS) {
            const of = (all: readonly Outbound[]) =>
              all.filter((one) => runOf(one) === run && one.schema === `${kind}.v1`);
            const rows = (all: readonly Outbound[]) => of(all).reduce((sum, one) => sum + one.rows, 0);
            const told = given.filter((one) => runOf(one) === run).map(droppedIn);
            const counted = Math.max(0, ...told.map((dropped) => dropped[`spool_full.${kind}`] ?? 0));
            expect(counted).toBeGreaterThanOrEqual(rows(missing));
            expect(counted).toBeLessThanOrEqual(rows(missing) + rows(doubtful));
          }
        expect(history.spool.isEmpty).toBe(true);
        expect(history.disk.list().filter(({ bytes }) => bytes > 0)).toEqual([]);
      }),
      { numRuns: 200, endOnFailure: true },
    );
  });

  it('gives what earlier runs left before its own, under the names it had', () => {
    const disk = new MemoryDisk();
    fill(disk, 1, 4);
    fill(disk, 2, 2);
    const spool = fill(disk, 3, 1);
    expect(idsOf(drain(spool))).toEqual([...idsUpTo(1, 4), ...idsUpTo(2, 2), '3.1']);
    expect(spool.isEmpty).toBe(true);
  });

  it('drops the oldest at the bound and says so in all that follows of the run, also in the next one', () => {
    const disk = new MemoryDisk();
    const before = fill(disk, 1, 14);
    expect(before.lostOf('1')).toEqual({ uprobe: 0, kprobe: 18 });
    const spool = fill(disk, 2, 3);
    const given = drain(spool);
    expect(idsOf(given)).toEqual([...idsUpTo(1, 14, 10), ...idsUpTo(2, 3)]);
    const dropped = given.map(droppedIn);
    expect(dropped.slice(0, 5)).toEqual(Array(5).fill({ 'spool_full.kprobe': 27 }));
    expect(dropped.slice(5)).toEqual([{}, {}, {}]);
    expect(spool.lostRows).toBe(27);
  });

  it('never drops what is on its way', () => {
    const disk = new MemoryDisk();
    const spool = fill(disk, 1, 3);
    const first = spool.next()!;
    for (let seq = 4; seq <= 20; seq++) spool.append(message(1, seq, 'kprobe', 3));
    spool.settled(first.segment);
    expect(idsOf(drain(spool)).slice(0, 3)).toEqual(['1.2', '1.3', '1.16']);
  });

  it('keeps of a run that ended the last batch, whose ledger tells the rest', () => {
    const disk = new MemoryDisk();
    fill(disk, 1, 6);
    const given = drain(fill(disk, 2, 14));
    expect(given[0]!.messageId).toBe('1.6');
    expect(droppedIn(given[0]!)).toEqual({ 'spool_full.kprobe': 15 });
  });

  it.each([
    [
      'a flipped bit',
      (bytes: Buffer) => bytes.fill(bytes[RECORD_BYTES + 100]! ^ 4, RECORD_BYTES + 100, RECORD_BYTES + 101),
      ['1.1', '1.3', '1.4'],
    ],
    [
      'a length out of range',
      (bytes: Buffer) => bytes.fill(0xff, RECORD_BYTES, RECORD_BYTES + 4),
      ['1.1', '1.4'],
    ],
    ['zeros, as after a power cut', (bytes: Buffer) => bytes.fill(0, RECORD_BYTES), ['1.1', '1.4']],
  ])('goes on after %s, and counts the bytes', (_, damage, left) => {
    const disk = new MemoryDisk();
    fill(disk, 1, 4);
    damage(disk.segments.get(1)!.bytes);
    const spool = new Spool(disk, '2', LIMITS);
    expect(idsOf(drain(spool))).toEqual(left);
    expect(spool.damagedBytes).toBe((4 - left.length) * RECORD_BYTES);
  });

  it('takes nothing that a full disk refuses, and goes on when there is room', () => {
    const disk = new MemoryDisk();
    const spool = fill(disk, 1, 2);
    disk.isFull = true;
    expect(() => spool.append(message(1, 3, 'kprobe', 3))).toThrow('ENOSPC');
    disk.isFull = false;
    spool.append(message(1, 4, 'kprobe', 3));
    expect(idsOf(drain(spool))).toEqual(['1.1', '1.2', '1.4']);
  });
});
