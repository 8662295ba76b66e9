// A message in a segment of the spool: length and CRC-32 of what follows, then the message in MessagePack. Pure.
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { decode, pack } from '../../schemas/codec.ts';
import type { Outbound } from '../runtime/bus.ts';

const HEAD_BYTES = 8;

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not bytes');
const message = z.object({
  subject: z.string(),
  schema: z.string(),
  data: bytes,
  messageId: z.string(),
  rows: z.number().int().nonnegative(),
});

export function encodeRecord({ subject, schema, data, messageId, rows }: Outbound): Buffer {
  const body = pack({ subject, schema, data, messageId, rows });
  const record = Buffer.allocUnsafe(HEAD_BYTES + body.length);
  record.writeUInt32LE(body.length, 0);
  record.writeUInt32LE(crc32(body), 4);
  record.set(body, HEAD_BYTES);
  return record;
}

export interface Scanned {
  /** Undefined: damaged. */
  readonly message: Outbound | undefined;
  /** Where the next record begins. */
  readonly end: number;
}

/**
 * The record at `at`, below `bytes.length`. A crash in the middle of a write leaves a record that is longer than what
 * there is: it ends with the segment.
 */
export function readRecord(bytes: Buffer, at: number): Scanned {
  const bodyAt = at + HEAD_BYTES;
  const end = bodyAt <= bytes.length ? bodyAt + bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY;
  if (end > bytes.length || end === bodyAt) return { message: undefined, end: bytes.length };
  const body = bytes.subarray(bodyAt, end);
  const read = crc32(body) === bytes.readUInt32LE(at + 4) ? decode(message, body) : 'damaged';
  return { message: typeof read === 'string' ? undefined : read, end };
}
