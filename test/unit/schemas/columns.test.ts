import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ColumnBytes,
  type ColumnSpec,
  ColumnWriter,
  readColumns,
  type StringColumn,
  type StringWriter,
  type U64Column,
} from '../../../schemas/columns.ts';

const SPEC = { a: 'u8', b: 'u16', c: 'u32', d: 'i16', e: 'u64', f: 'str' } as const satisfies ColumnSpec;

const row = fc.record({
  a: fc.nat(0xff),
  b: fc.nat(0xffff),
  c: fc.nat(0xffff_ffff),
  d: fc.integer({ min: -0x8000, max: 0x7fff }),
  e: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  f: fc.oneof(fc.constant(undefined), fc.string({ unit: 'binary' }), fc.string({ minLength: 500 })),
});
type Row = typeof row extends fc.Arbitrary<infer R> ? R : never;

function write(writer: ColumnWriter<typeof SPEC>, rows: readonly Row[]): Record<string, ColumnBytes> {
  const { a, b, c, d, e, f } = writer.columns;
  for (const [n, values] of rows.entries()) {
    a[n] = values.a;
    b[n] = values.b;
    c[n] = values.c;
    d[n] = values.d;
    e[2 * n] = Number(values.e & 0xffff_ffffn);
    e[2 * n + 1] = Number(values.e >> 32n);
    if (values.f !== undefined) f.set(n, values.f);
    writer.n++;
  }
  return writer.take();
}

/** The same bytes at an odd address, as MessagePack leaves them. */
function unaligned(cols: Record<string, ColumnBytes>, shift: number): Record<string, ColumnBytes> {
  const moved = (bytes: Uint8Array) => {
    const memory = new Uint8Array(bytes.length + shift);
    memory.set(bytes, shift);
    return memory.subarray(shift);
  };
  const entries = Object.entries(cols).map(([name, column]) => [
    name,
    Array.isArray(column) ? column.map(moved) : moved(column as Uint8Array),
  ]);
  return Object.fromEntries(entries);
}

describe('columns', () => {
  it('give back every row, aligned or not, batch after batch of one writer', () => {
    const writer = new ColumnWriter(SPEC, 20);
    const batches = fc.array(fc.array(row, { maxLength: 20 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(batches, fc.nat(7), (all, shift) => {
        for (const rows of all) {
          const cols = readColumns(SPEC, rows.length, unaligned(write(writer, rows), shift));
          if (typeof cols === 'string') throw new Error(cols);
          const got = rows.map((_, n) => ({
            a: cols.a[n],
            b: cols.b[n],
            c: cols.c[n],
            d: cols.d[n],
            e: cols.e.bigint(n),
            f: cols.f.get(n),
          }));
          expect(got).toEqual(rows.map((values) => ({ ...values, f: values.f ?? '' })));
        }
      }),
    );
  });

  it('do not change what was taken when the writer goes on', () => {
    const writer = new ColumnWriter({ f: 'str', c: 'u32' }, 4);
    const one = (text: string, number: number) => {
      writer.columns.f.set(0, text);
      writer.columns.c[0] = number;
      writer.n = 1;
      return writer.take();
    };
    const first = one('first', 1);
    one('other', 2);
    const cols = readColumns({ f: 'str', c: 'u32' }, 1, first) as { f: StringColumn; c: Uint32Array };
    expect([cols.f.get(0), cols.c[0]]).toEqual(['first', 1]);
  });

  it('read ids below 2^53 as exact numbers', () => {
    const spec = { e: 'u64' } as const;
    const id = Number.MAX_SAFE_INTEGER;
    const cols = readColumns(spec, 1, { e: new Uint8Array(new BigUint64Array([BigInt(id)]).buffer) });
    expect((cols as { e: U64Column }).e.number(0)).toBe(id);
  });

  it('show bytes that are not UTF-8 as replacement characters', () => {
    const writer = new ColumnWriter({ f: 'str' }, 2);
    const source = Buffer.from('..a\xff\xc3..', 'latin1');
    (writer.columns.f as StringWriter).setBytes(0, source, 2, 5);
    writer.columns.f.set(1, 'next');
    writer.n = 2;
    const cols = readColumns({ f: 'str' }, 2, writer.take()) as { f: StringColumn };
    expect([cols.f.get(0), cols.f.get(1)]).toEqual(['a\ufffd\ufffd', 'next']);
  });

  const bytes = (length: number) => new Uint8Array(length);
  const offsets = (...values: number[]) => new Uint8Array(new Uint32Array(values).buffer);
  it.each<[string, ColumnSpec, Record<string, ColumnBytes>]>([
    ['column x is missing', { x: 'u8' }, { y: bytes(2) }],
    ['column x is 3 bytes, not 2×1', { x: 'u8' }, { x: bytes(3) }],
    ['column x is 3 bytes, not 2×2', { x: 'u16' }, { x: bytes(3) }],
    ['column x is 2 bytes, not 2×2', { x: 'i16' }, { x: bytes(2) }],
    ['column x is 12 bytes, not 2×4', { x: 'u32' }, { x: bytes(12) }],
    ['column x is 0 bytes, not 2×8', { x: 'u64' }, { x: bytes(0) }],
    ['column x is not a number column', { x: 'u32' }, { x: [bytes(8), bytes(0)] }],
    ['column x is not a string column', { x: 'str' }, { x: bytes(12) }],
    ['column x has the wrong number of offsets', { x: 'str' }, { x: [offsets(0, 1), bytes(1)] }],
    ['column x has offsets out of order', { x: 'str' }, { x: [offsets(0, 3, 2), bytes(2)] }],
    ['column x has offsets out of range', { x: 'str' }, { x: [offsets(0, 1, 3), bytes(2)] }],
    ['column x has offsets out of range', { x: 'str' }, { x: [offsets(0, 1, 1), bytes(2)] }],
    ['column x has offsets out of range', { x: 'str' }, { x: [offsets(1, 1, 2), bytes(2)] }],
  ])('that do not fit are refused: %s', (problem, spec, cols) => {
    expect(readColumns(spec, 2, cols)).toBe(problem);
  });
});
