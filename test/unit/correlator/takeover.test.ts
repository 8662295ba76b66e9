import { describe, expect, it } from 'vitest';
import { pack } from '../../../schemas/codec.ts';
import { BatchSequence } from '../../../services/correlator/batch-sequence.ts';
import {
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
} from '../../../services/correlator/checkpoint.ts';
import { Join } from '../../../services/correlator/join.ts';
import { ReplayWindow } from '../../../services/correlator/replay-window.ts';
import { planTakeover } from '../../../services/correlator/takeover.ts';
import { batch, start } from './batches.ts';

const JOIN = { boots: [], carried: [], overflow: 0, evictedThrough: -1 };
const SAVED: Checkpoint = { created: 'c1', emitFrom: 40, replayFrom: 30, join: JOIN };

describe('planTakeover', () => {
  it('begins at the first message without a checkpoint', () => {
    expect(planTakeover(undefined, { firstSeq: 12, lastSeq: 20, created: 'c1' })).toEqual({
      replayFrom: 12,
      emitFrom: 12,
      uncertainThrough: 20,
      join: undefined,
      because: 'no checkpoint',
    });
    expect(planTakeover(undefined, { firstSeq: 0, lastSeq: 0, created: 'c1' }).replayFrom).toBe(1);
  });

  it('goes on from a checkpoint', () => {
    for (const lastSeq of [39, 50])
      expect(planTakeover(SAVED, { firstSeq: 1, lastSeq, created: 'c1' })).toEqual({
        replayFrom: 30,
        emitFrom: 40,
        uncertainThrough: lastSeq,
        join: JOIN,
        because: 'checkpoint',
      });
  });

  it.each([
    [{ firstSeq: 3, lastSeq: 50, created: 'c2' }, 'stream was created anew'],
    [{ firstSeq: 3, lastSeq: 38, created: 'c1' }, 'stream lost its end'],
  ])('begins at the first message of another stream: %o', (stream, because) => {
    expect(planTakeover(SAVED, stream)).toMatchObject({
      replayFrom: 3,
      emitFrom: 3,
      join: undefined,
      because,
    });
  });
});

describe('checkpoint', () => {
  it.each([
    ['bytes', Buffer.from([0x92, 1]), 'not MessagePack'],
    ['another version', pack({ v: 2 }), 'field v'],
    ['positions that cannot be', pack({ v: 1, ...SAVED, emitFrom: 3 }), 'replayFrom lies behind emitFrom'],
    ['a request of no boot', withRequest({ boots: [] }), 'a request of no boot'],
  ])('says why it cannot read %s', (_, bytes, problem) => {
    expect(decodeCheckpoint(bytes)).toContain(problem);
  });

  it('stays small enough for the bus whatever it carries, and counts what it leaves out', () => {
    const join = joinWith(2_000, 'p'.repeat(1_000));
    const position = { created: 'c1', emitFrom: 3, replayFrom: 3 };
    const { bytes, overflow } = encodeCheckpoint(position, (most) => join.state(3, most), 2_000);
    expect(bytes.length).toBeLessThan(800_000);
    const decoded = decodeCheckpoint(bytes) as Checkpoint;
    expect(decoded.join.carried.length).toBeGreaterThan(100);
    expect(decoded.join.carried.length + overflow).toBe(2_000);
    // The newest are kept; the others are known to have been there.
    expect(decoded.join.carried.at(-1)!.id).toBe(2_000);
    expect(decoded.join.boots[0]!.fallenId).toBe(overflow);
  });

  describe('of more boots than a message can hold', () => {
    const position = { created: 'c1', emitFrom: 3, replayFrom: 3 };
    const bootsOf = (name: string, missing: number) =>
      Array.from({ length: 2_000 }, (_, i) => ({
        host: `${name}${i}`,
        boot: name,
        watermarkNs: 1_763_000_000_000_000_000n,
        fallenId: 2 ** 40 + i,
        sequence: {
          sinceNs: 1_763_000_000_000_000_000n,
          last: 300_000,
          floor: 1,
          missing: Array.from({ length: missing }, (_, n): [number, number] => [
            100_000 + 2 * n,
            100_000 + 2 * n,
          ]),
        },
        books: [],
      }));
    const encoded = (boots: ReturnType<typeof bootsOf>) =>
      encodeCheckpoint(position, () => ({ boots, carried: [], overflow: 5, evictedThrough: -1 }), 2_000);

    it('the quietest lose what they miss, so that what comes late counts as uncertain', () => {
      const boots = bootsOf('h', 64);
      const { bytes, overflow, bootsCut } = encoded(boots);
      expect(bytes.length).toBeLessThanOrEqual(768 * 1024);
      expect(bytes.length).toBeGreaterThan(767 * 1024);
      expect(overflow).toBe(5);
      const { join } = decodeCheckpoint(bytes) as Checkpoint;
      expect(join.boots.map(({ host }) => host)).toEqual(boots.map(({ host }) => host));
      expect(join.boots.map(({ sequence }) => sequence.missing.length)).toEqual(
        boots.map((_, i) => (i < bootsCut ? 0 : 64)),
      );
      expect(join.boots.slice(bootsCut)).toEqual(boots.slice(bootsCut));
      const sequence = new BatchSequence();
      sequence.restore(join.boots[0]!.sequence);
      const { sinceNs } = boots[0]!.sequence;
      expect([100_002, 100_126, 100_127, 300_001].map((seq) => sequence.accept(sinceNs, seq))).toEqual([
        'uncertain',
        'uncertain',
        'repeat',
        'next',
      ]);
    });

    it('with the longest names, the quietest are forgotten', () => {
      const boots = bootsOf('x'.repeat(250), 1);
      const { bytes, bootsCut } = encoded(boots);
      expect(bytes.length).toBeLessThanOrEqual(768 * 1024);
      const { join } = decodeCheckpoint(bytes) as Checkpoint;
      expect(join.boots.length).toBeGreaterThan(1_000);
      expect(join.boots.at(-1)!.host).toBe(boots.at(-1)!.host);
      expect(bootsCut).toBe(2_000); // each lost at least what it missed
    });
  });

  it('lists the quietest boot first', () => {
    const join = new Join({
      windowNs: 60n,
      lateNs: 1_000_000n,
      maxRequests: 10,
      maxBoots: 10,
      silentNs: 1_000n,
    });
    for (const [i, host] of ['a', 'b', 'a'].entries())
      join.accept(host, batch({ kind: 'kprobe', host, seq: i + 1 }, []), i + 1);
    expect(join.state(4, 10).boots.map(({ host }) => host)).toEqual(['b', 'a']);
  });

  it('carries only what began before the messages to be read again', () => {
    expect(joinWith(10, 'p').state(1, 100).carried).toEqual([]);
    expect(joinWith(10, 'p').state(2, 100).carried).toHaveLength(10);
  });
});

describe('ReplayWindow', () => {
  it('begins with the oldest message that arrived within the window', () => {
    const window = new ReplayWindow(1_000, 10, 0);
    expect(window.advance(20, 500)).toBe(10);
    expect(window.advance(30, 1_000)).toBe(10);
    expect(window.advance(40, 1_499)).toBe(10);
    expect(window.advance(50, 1_500)).toBe(20);
    expect(window.advance(60, 9_000)).toBe(50);
    expect(window.advance(60, 99_000)).toBe(50); // nothing arrives: stands still
    expect(window.advance(61, 99_000)).toBe(60);
  });
});

function joinWith(count: number, path: string): Join {
  const join = new Join({
    windowNs: 60n,
    lateNs: 1_000_000n,
    maxRequests: 10_000,
    maxBoots: 10,
    silentNs: 1_000n,
  });
  const rows = Array.from({ length: count }, (_, i) => start(i + 1, 1n, { path }));
  join.accept('node-a', batch({ kind: 'uprobe', seq: 1 }, rows), 1);
  return join;
}

function withRequest(more: object): Uint8Array {
  const state = joinWith(1, 'p').state(2, 1);
  return pack({ v: 1, ...SAVED, join: { ...state, ...more } });
}
