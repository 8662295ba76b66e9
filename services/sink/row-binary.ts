// Rows as a body of `INSERT … FORMAT RowBinary`, and back from `FORMAT JSONCompactEachRow`. Pure.
import { ByteWriter } from './byte-writer.ts';
import type { FieldValue } from './column-kind.ts';
import type { Table } from './schema.ts';

export type Row = Readonly<Record<string, FieldValue | null>>;

/** First field of the first row that its column cannot hold, in words; undefined when all fit. */
export function misfit(table: Table, rows: readonly Row[]): string | undefined {
  for (const [index, row] of rows.entries()) {
    if ((row[table.id.field] ?? null) === null) return `row ${index}: ${table.id.field} is missing`;
    if ((row.time ?? null) === null) return `row ${index}: time is missing`;
    for (const { field, kind } of table.columns) {
      const value = row[field] ?? null;
      if (value !== null && !kind.fits(value))
        return `row ${index}: ${field} cannot be stored as ${kind.type}: ${String(value).slice(0, 100)}`;
    }
  }
  return undefined;
}

export interface Rows {
  readonly rows: readonly Row[];
  /** Sequence in the stream of the message they came in. */
  readonly seq: number;
}

/** Rows that fit, in the order of `insertColumns`. */
export function encodeRowBinary(table: Table, blocks: readonly Rows[]): Buffer {
  const count = blocks.reduce((sum, { rows }) => sum + rows.length, 0);
  const writer = new ByteWriter(Math.max(4096, 512 * count));
  for (const { rows, seq } of blocks)
    for (const row of rows) {
      for (const { field, kind } of table.columns) kind.write(writer, row[field] ?? null);
      writer.u64(seq);
    }
  return writer.view();
}

export function insertColumns(table: Table): string {
  return [...table.columns.map(({ name }) => name), 'stream_seq'].join(', ');
}

/** What to select for `decodeRow`. */
export function selectColumns(table: Table): string {
  return table.columns.map(({ name, kind }) => kind.select(name)).join(', ');
}

export function decodeRow(
  table: Table,
  cells: readonly (string | number)[],
): Record<string, FieldValue | null> {
  const row: Record<string, FieldValue | null> = {};
  for (const [i, { field, kind }] of table.columns.entries()) row[field] = kind.read(cells[i]!);
  return row;
}
