// How a kind of value lies in ClickHouse: its type, how it is checked, written as RowBinary, selected and read back. Pure.
// No column is Nullable (it would cost a byte a row and an extra file a column): one value of each kind stands for null.
import { formatAddress, parseAddress } from '../../schemas/ip-address.ts';
import type { ByteWriter } from './byte-writer.ts';

export type FieldValue = string | number | bigint;

export interface ColumnKind {
  readonly type: string;
  /** Whether the column can hold the value: what a message claims is not trusted. */
  fits(value: FieldValue): boolean;
  /** Of a value that fits. */
  write(writer: ByteWriter, value: FieldValue | null): void;
  /** SQL that gives `read` what it expects. */
  select(column: string): string;
  read(cell: string | number): FieldValue | null;
}

/** Free text; '' stands for null. Lone surrogates become U+FFFD. */
export const text: ColumnKind = {
  type: 'String',
  fits: () => true,
  write: (writer, value) => writer.text((value as string | null) ?? ''),
  select: (column) => column,
  read: (cell) => (cell === '' ? null : cell),
};

/** Text of few distinct values. */
export const label: ColumnKind = { ...text, type: 'LowCardinality(String)' };

/** Lower-case hexadecimal digits of `bytes` bytes; all zeros stand for null. */
export function hex(bytes: number): ColumnKind {
  const shape = new RegExp(`^[0-9a-f]{${2 * bytes}}$`);
  const zeros = '0'.repeat(2 * bytes);
  return {
    type: `FixedString(${bytes})`,
    fits: (value) => shape.test(value as string),
    write: (writer, value) =>
      value === null ? writer.zeros(bytes) : writer.encoded(value as string, 'hex', bytes),
    select: (column) => `lower(hex(${column}))`,
    read: (cell) => (cell === zeros ? null : cell),
  };
}

/** Unsigned number of `bits`; `absent` stands for null. */
export function unsigned(bits: 16 | 32 | 64, absent = 0): ColumnKind {
  const most = bits === 64 ? Number.MAX_SAFE_INTEGER : 2 ** bits - 1;
  const write = bits === 16 ? 'u16' : bits === 32 ? 'u32' : 'u64';
  return {
    type: `UInt${bits}`,
    fits: (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most,
    write: (writer, value) => writer[write]((value as number | null) ?? absent),
    select: (column) => column,
    read: (cell) => (Number(cell) === absent ? null : Number(cell)),
  };
}

/** A 64-bit number as decimal text, exact; 0 stands for null. */
export const decimal: ColumnKind = {
  type: 'UInt64',
  fits: (value) => /^(?:0|[1-9]\d{0,19})$/.test(value as string) && BigInt(value) < 2n ** 64n,
  write: (writer, value) => (value === null ? writer.zeros(8) : writer.bigU64(BigInt(value))),
  select: (column) => `toString(${column})`,
  read: (cell) => (cell === '0' ? null : cell),
};

/** 2100-01-01. The partition key is a Date (to 2149) and the TTL a DateTime (to 2106): later times would wrap around. */
const TIME_MAX_NS = 4_102_444_800_000_000_000n;

/** Unix epoch ns; 0 stands for null. */
export const time: ColumnKind = {
  type: "DateTime64(9, 'UTC')",
  fits: (value) => (value as bigint) >= 0n && (value as bigint) < TIME_MAX_NS,
  write: (writer, value) => writer.bigU64((value as bigint | null) ?? 0n),
  select: (column) => `toString(toUnixTimestamp64Nano(${column}))`,
  read: (cell) => (cell === '0' ? null : BigInt(cell)),
};

/** IPv4 as ::ffff:a.b.c.d; `::` stands for null. */
export const address: ColumnKind = {
  type: 'IPv6',
  fits: (value) => parseAddress(value as string) !== undefined,
  write: (writer, value) =>
    value === null ? writer.zeros(16) : writer.raw(parseAddress(value as string) as Uint8Array),
  select: (column) => `lower(hex(${column}))`,
  read: (cell) => (cell === '0'.repeat(32) ? null : formatAddress(Buffer.from(cell as string, 'hex'))),
};

/** Community ID v1, `1:` and the base64 of a SHA-1, stored as the 20 bytes; zeros stand for null. */
export const communityId: ColumnKind = {
  type: 'FixedString(20)',
  fits: (value) =>
    // The last character carries two unused bits; only their canonical form can be read back.
    /^1:[A-Za-z0-9+/]{26}[AEIMQUYcgkosw048]=$/.test(value as string),
  write: (writer, value) =>
    value === null ? writer.zeros(20) : writer.encoded((value as string).slice(2), 'base64', 20),
  select: (column) => `base64Encode(${column})`,
  read: (cell) => (cell === `${'A'.repeat(27)}=` ? null : `1:${cell}`),
};
