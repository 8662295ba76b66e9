// Columns of a batch: little-endian numbers, or offsets and UTF-8 bytes for strings. Pure; no copy on reading
// numbers unless the bytes are unaligned (typed arrays need alignment, MessagePack gives none).
import { z } from 'zod';

export type ColumnType = 'u8' | 'u16' | 'u32' | 'i16' | 'u64' | 'str';
export type ColumnSpec = Readonly<Record<string, ColumnType>>;

const WIDTH = { u8: 1, u16: 2, u32: 4, i16: 2, u64: 8 } as const;

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not bytes');
export const columnBytes = z.union([bytes, z.tuple([bytes, bytes])]);
export type ColumnBytes = z.infer<typeof columnBytes>;

/** A u64 column as pairs of u32 (low, high): ids and times stay out of bigint until a row is written. */
export class U64Column {
  readonly words: Uint32Array;
  constructor(words: Uint32Array) {
    this.words = words;
  }
  /** Exact below 2^53: ids, durations. */
  number(row: number): number {
    return this.words[2 * row]! + this.words[2 * row + 1]! * 0x1_0000_0000;
  }
  bigint(row: number): bigint {
    return BigInt(this.words[2 * row]!) | (BigInt(this.words[2 * row + 1]!) << 32n);
  }
}

export class StringColumn {
  readonly offsets: Uint32Array;
  readonly bytes: Buffer;
  constructor(offsets: Uint32Array, bytes: Buffer) {
    this.offsets = offsets;
    this.bytes = bytes;
  }
  get(row: number): string {
    return this.bytes.toString('utf8', this.offsets[row]!, this.offsets[row + 1]!);
  }
}

type ColumnOf<T extends ColumnType> = T extends 'str'
  ? StringColumn
  : T extends 'u64'
    ? U64Column
    : T extends 'u8'
      ? Uint8Array
      : T extends 'u16'
        ? Uint16Array
        : T extends 'i16'
          ? Int16Array
          : Uint32Array;
export type Columns<S extends ColumnSpec> = { readonly [K in keyof S]: ColumnOf<S[K]> };

/** Views on the columns of `n` rows; the problem as text when one is missing, too short or inconsistent. */
export function readColumns<S extends ColumnSpec>(
  spec: S,
  n: number,
  cols: Readonly<Record<string, ColumnBytes>>,
): Columns<S> | string {
  const out: Record<string, unknown> = {};
  for (const [name, type] of Object.entries(spec)) {
    const raw = cols[name];
    if (raw === undefined) return `column ${name} is missing`;
    if (type === 'str') {
      if (!Array.isArray(raw)) return `column ${name} is not a string column`;
      const [offsetBytes, text] = raw;
      if (offsetBytes.length !== 4 * (n + 1)) return `column ${name} has the wrong number of offsets`;
      const offsets = numberView('u32', offsetBytes) as Uint32Array;
      for (let row = 0; row < n; row++)
        if (offsets[row]! > offsets[row + 1]!) return `column ${name} has offsets out of order`;
      if (offsets[0] !== 0 || offsets[n] !== text.length) return `column ${name} has offsets out of range`;
      out[name] = new StringColumn(offsets, Buffer.from(text.buffer, text.byteOffset, text.length));
    } else {
      if (Array.isArray(raw)) return `column ${name} is not a number column`;
      if (raw.length !== n * WIDTH[type])
        return `column ${name} is ${raw.length} bytes, not ${n}×${WIDTH[type]}`;
      out[name] = numberView(type, raw);
    }
  }
  return out as Columns<S>;
}

/** A column of `n` empty strings. */
export function emptyStrings(n: number): [Uint8Array, Uint8Array] {
  return [new Uint8Array(4 * (n + 1)), new Uint8Array(0)];
}

function numberView(type: Exclude<ColumnType, 'str'>, raw: Uint8Array): unknown {
  if (type === 'u8') return raw;
  const width = type === 'u16' || type === 'i16' ? 2 : 4;
  const { buffer, byteOffset, length } = raw.byteOffset % width === 0 ? raw : new Uint8Array(raw);
  if (type === 'u16') return new Uint16Array(buffer, byteOffset, length / 2);
  if (type === 'i16') return new Int16Array(buffer, byteOffset, length / 2);
  const words = new Uint32Array(buffer, byteOffset, length / 4);
  return type === 'u32' ? words : new U64Column(words);
}

type Writable<T extends ColumnType> = T extends 'str'
  ? StringWriter
  : T extends 'u8'
    ? Uint8Array
    : T extends 'u16'
      ? Uint16Array
      : T extends 'i16'
        ? Int16Array
        : Uint32Array;

/** One batch being filled: write row `n` into every column (u64: words 2n and 2n+1), then `n += 1`. */
export class ColumnWriter<S extends ColumnSpec> {
  n = 0;
  readonly columns: { readonly [K in keyof S]: Writable<S[K]> };
  readonly capacity: number;

  constructor(spec: S, capacity: number) {
    this.capacity = capacity;
    const columns: Record<string, unknown> = {};
    for (const [name, type] of Object.entries(spec)) {
      if (type === 'str') columns[name] = new StringWriter(capacity);
      else if (type === 'u8') columns[name] = new Uint8Array(capacity);
      else if (type === 'u16') columns[name] = new Uint16Array(capacity);
      else if (type === 'i16') columns[name] = new Int16Array(capacity);
      else columns[name] = new Uint32Array(type === 'u64' ? 2 * capacity : capacity);
    }
    this.columns = columns as { readonly [K in keyof S]: Writable<S[K]> };
  }

  /** The columns of the rows written so far, copied, and the writer empty again. */
  take(): Record<string, ColumnBytes> {
    const out: Record<string, ColumnBytes> = {};
    for (const [name, column] of Object.entries(this.columns as Record<string, unknown>)) {
      if (column instanceof StringWriter) out[name] = column.take(this.n);
      else {
        const array = column as Uint8Array | Uint16Array | Int16Array | Uint32Array;
        const width = array.byteLength / this.capacity;
        out[name] = new Uint8Array(array.buffer.slice(0, this.n * width));
      }
    }
    this.n = 0;
    return out;
  }
}

/** Strings of one column. A row that writes nothing is the empty string. */
export class StringWriter {
  private readonly offsets: Uint32Array;
  private bytes = Buffer.alloc(4096);
  private end = 0;
  private rows = 0; // whose end is in `offsets`

  constructor(capacity: number) {
    this.offsets = new Uint32Array(capacity + 1);
  }

  set(row: number, text: string): void {
    this.skipTo(row);
    this.reserve(3 * text.length);
    this.end += this.bytes.write(text, this.end);
    this.rows = row + 1;
    this.offsets[this.rows] = this.end;
  }

  setBytes(row: number, source: Uint8Array, start: number, end: number): void {
    this.skipTo(row);
    this.reserve(end - start);
    for (let at = start; at < end; at++) this.bytes[this.end++] = source[at]!;
    this.rows = row + 1;
    this.offsets[this.rows] = this.end;
  }

  take(n: number): [Uint8Array, Uint8Array] {
    this.skipTo(n);
    const offsets = new Uint8Array(this.offsets.buffer.slice(0, 4 * (n + 1)));
    const text = new Uint8Array(this.bytes.subarray(0, this.end));
    this.end = 0;
    this.rows = 0;
    return [offsets, text];
  }

  private skipTo(row: number): void {
    while (this.rows < row) this.offsets[++this.rows] = this.end;
  }

  private reserve(length: number): void {
    if (this.end + length <= this.bytes.length) return;
    const larger = Buffer.alloc(Math.max(2 * this.bytes.length, this.end + length));
    this.bytes.copy(larger, 0, 0, this.end);
    this.bytes = larger;
  }
}
