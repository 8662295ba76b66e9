import { expect, test } from 'vitest';
import { pack } from '../../../schemas/codec.ts';
import {
  blockToken,
  decodePosition,
  encodePosition,
  otherStore,
  type Position,
  planStart,
} from '../../../services/sink/position.ts';

const at = (change: Partial<Position>): Position => ({ v: 1, created: 'c', epoch: 0, next: 10, ...change });
const stream = (firstSeq: number, lastSeq: number, created = 'c') => ({ created, firstSeq, lastSeq });
const block = { first: 10, last: 14 };

test.each<[string, Position | undefined, ReturnType<typeof stream>, object]>([
  ['nothing known, empty stream', undefined, stream(0, 0), { startSeq: 1, epoch: 0 }],
  ['nothing known', undefined, stream(7, 20), { startSeq: 7, fixed: undefined }],
  ['all stored', at({}), stream(1, 9), { startSeq: 10 }],
  ['some to read', at({}), stream(1, 20), { startSeq: 10, fixed: undefined }],
  ['some discarded', at({}), stream(15, 20), { startSeq: 15 }],
  ['a block begun', at({ block }), stream(1, 20), { startSeq: 10, fixed: block, epoch: 0 }],
  ['a block begun, its beginning discarded', at({ block }), stream(12, 20), { startSeq: 12, fixed: block }],
  ['a block begun, all discarded', at({ block }), stream(15, 20), { startSeq: 15, fixed: undefined }],
  ['a block begun that is the end', at({ block }), stream(1, 14), { startSeq: 10, fixed: block }],
  ['the stream lost its end', at({ epoch: 3 }), stream(1, 5), { startSeq: 6, fixed: undefined, epoch: 4 }],
  [
    'the stream lost the end of a block',
    at({ block }),
    stream(1, 12),
    { startSeq: 10, fixed: undefined, epoch: 1 },
  ],
  [
    'another stream',
    at({ block, epoch: 2 }),
    stream(1, 20, 'd'),
    { created: 'd', startSeq: 1, fixed: undefined, epoch: 0 },
  ],
])('%s', (_, known, state, expected) => {
  expect(planStart(known, state)).toMatchObject(expected);
});

test('comes back as it went, and nothing else is taken for one', () => {
  for (const value of [at({}), at({ block })]) expect(decodePosition(encodePosition(value))).toEqual(value);
  for (const bytes of [Buffer.from('nonsense'), pack({ v: 2 }), pack({ ...at({}), next: 0 })])
    expect(decodePosition(bytes)).toBeUndefined();
});

test('tokens name stream, epoch and block, in characters that are safe in SQL', () => {
  const created = '2026-11-22T16:25:00.123456789Z';
  expect(blockToken(created, 0, block)).toBe(`${created}:10-14`);
  expect(blockToken(created, 2, block)).toBe(`${created}#2:10-14`);
  expect(blockToken("a'b\\c", 0, block)).toBe('a_b_c:10-14');
});

test.each<[string, Position | undefined, string | undefined]>([
  ['nothing is stored yet', undefined, undefined],
  ['a position of an earlier version', at({}), undefined],
  ['this store', at({ store: 'mine' }), undefined],
  ['another store', at({ store: 'theirs' }), 'theirs'],
  ['another store, of a stream that is no more', at({ store: 'theirs', created: 'b' }), undefined],
])('which other store has the rows: %s', (_, known, other) => {
  expect(otherStore(known, stream(1, 20), 'mine')).toBe(other);
});
