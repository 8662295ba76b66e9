// Stable ids of flows and requests: 64 bits that name the boot, then 64 bits that are unique on it. The same event
// gives the same id in every replay, which makes it the idempotency key everywhere downstream.
import type { U64Column } from '../../schemas/columns.ts';

const MASK = 0xffff_ffff_ffff_ffffn;
const scratch = Buffer.alloc(8);

/** First half of every id of this boot. */
export function bootPrefix(host: string, boot: string): string {
  return fnv1a64(`${host}\0${boot}`);
}

/** FNV-1a, 64 bits, as 16 hex digits. */
export function fnv1a64(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & MASK;
  return hash.toString(16).padStart(16, '0');
}

/** 16 hex digits; by way of a buffer because Number.toString(16) costs ten times as much. */
export function hex16(column: U64Column, row: number): string {
  scratch.writeUInt32BE(column.words[2 * row + 1]!, 0);
  scratch.writeUInt32BE(column.words[2 * row]!, 4);
  return scratch.toString('hex');
}
