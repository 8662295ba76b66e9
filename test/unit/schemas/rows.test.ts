import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pack, unpack } from '../../../schemas/codec.ts';
import {
  decodeRows,
  encodeRows,
  FLOW_COLUMNS,
  FLOW_FIELDS,
  REQUEST_FIELDS,
  type RowOf,
} from '../../../schemas/rows.ts';

const FIELDS = { name: 'string', count: 'number', at: 'time' } as const;

/** Rows with any value that their fields can have. */
function rowsOf<F extends Readonly<Record<string, 'string' | 'number' | 'time'>>>(fields: F) {
  const values = {
    string: fc.option(fc.string({ unit: 'binary' })),
    number: fc.option(
      fc.oneof(
        fc.maxSafeInteger(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
      ),
    ),
    time: fc.option(fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })),
  };
  const row = Object.fromEntries(Object.entries(fields).map(([name, type]) => [name, values[type]]));
  return fc.array(fc.record(row), { maxLength: 5 }) as unknown as fc.Arbitrary<RowOf<F>[]>;
}

describe('rows', () => {
  it.each([
    ['flows', FLOW_FIELDS],
    ['requests', REQUEST_FIELDS],
  ])('of %s come back as they were sent', (_, fields) => {
    fc.assert(
      fc.property(rowsOf(fields), (rows) => {
        expect(decodeRows(fields, encodeRows(fields, rows))).toEqual(rows);
      }),
    );
  });

  it('say what their columns are', () => {
    expect(unpack(encodeRows(FLOW_FIELDS, []))).toEqual({ v: 1, columns: FLOW_COLUMNS, rows: [] });
  });

  it('have null for a column that the writer did not know', () => {
    const bytes = pack({ v: 1, columns: ['count'], rows: [[5]] });
    expect(decodeRows(FIELDS, bytes)).toEqual([{ name: null, count: 5, at: null }]);
  });

  it('leave out a column that the reader does not know, and take any order', () => {
    const bytes = pack({ v: 1, columns: ['later', 'at', 'name'], rows: [['x', 7n, 'n']] });
    expect(decodeRows(FIELDS, bytes)).toEqual([{ name: 'n', count: null, at: 7n }]);
  });

  it('take undefined for no value', () => {
    const row = { name: 'n' } as unknown as RowOf<typeof FIELDS>;
    expect(decodeRows(FIELDS, encodeRows(FIELDS, [row]))).toEqual([{ name: 'n', count: null, at: null }]);
  });

  it.each<[string, unknown, string]>([
    ['text for a number', [['a', 'b', 7n]], 'row 0: count is a string, not a number'],
    ['a number for text', [[1, 1, 7n]], 'row 0: name is a number, not a string'],
    ['a number for a time', [['a', 1, 7]], 'row 0: at is a number, not a time'],
    ['a time for a number', [['a', 7n, 7n]], 'row 0: count is a bigint, not a number'],
    [
      'too few values',
      [
        ['a', 1, 7n],
        ['a', 1],
      ],
      'row 1 has 2 values, not 3',
    ],
    ['too many values', [['a', 1, 7n, 'x']], 'row 0 has 4 values, not 3'],
    ['a truth value', [[true, 1, 7n]], 'field rows.0.0: '],
    ['bytes', [[new Uint8Array(1), 1, 7n]], 'field rows.0.0: '],
    ['not a number', [['a', Number.NaN, 7n]], 'field rows.0.1: '],
    ['a row that is no list', [7], 'field rows.0: '],
    ['no rows', undefined, 'field rows: '],
  ])('with %s are refused in words', (_, rows, problem) => {
    expect(decodeRows(FIELDS, pack({ v: 1, columns: ['name', 'count', 'at'], rows }))).toContain(problem);
  });

  it.each<[string, unknown, string]>([
    ['another version', { v: 2, columns: [], rows: [] }, 'field v: '],
    ['columns without names', { v: 1, columns: [1], rows: [] }, 'field columns.0: '],
    ['too many columns', { v: 1, columns: Array(257).fill('x'), rows: [] }, 'field columns: '],
    ['too many rows', { v: 1, columns: [], rows: Array(65_536).fill([]) }, 'field rows: '],
    ['a list', [], 'field (whole): '],
  ])('in a message with %s are refused in words', (_, message, problem) => {
    expect(decodeRows(FIELDS, pack(message))).toContain(problem);
  });

  it('never make the decoder throw', () => {
    const good = encodeRows(FIELDS, [{ name: 'n', count: 1, at: 7n }]);
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(fc.uint8Array(), damage, (bytes, changes) => {
        const damaged = Uint8Array.from(good);
        for (const [at, byte] of changes) damaged[at] = byte;
        for (const input of [bytes, damaged, damaged.subarray(0, bytes.length)])
          expect(['string', 'object']).toContain(typeof decodeRows(FIELDS, input));
      }),
      { numRuns: 5_000 },
    );
  });
});
