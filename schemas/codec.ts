// MessagePack, the only place that knows it. Plain maps and arrays (no record extension): any language reads it.
import { Packr, Unpackr } from 'msgpackr';
import type { z } from 'zod';

/** Header of every message: `<name>.v<N>`. Unknown ones are set aside and counted, never guessed. */
export const SCHEMA_HEADER = 'Flowtag-Schema';

/** Header of rows that may be stored already under another message, `1`: the store is asked before. */
export const REPLAY_HEADER = 'Flowtag-Replay';

const packr = new Packr({ useRecords: false, variableMapSize: true });
// 64-bit integers are bigint both ways: times in ns are the only ones written.
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

export function pack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** Throws on bytes that are not one MessagePack value. */
export function unpack(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}

/** The checked value (of a schema of objects), or in words why the bytes are not one. Never throws. */
export function decode<S extends z.ZodType<object>>(schema: S, bytes: Uint8Array): z.output<S> | string {
  let raw: unknown;
  try {
    raw = unpack(bytes);
  } catch (error) {
    return `not MessagePack: ${(error as Error).message}`;
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  return `field ${issue.path.join('.') || '(whole)'}: ${issue.message}`;
}
