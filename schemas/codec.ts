// MessagePack, the only place that knows it. Plain maps and arrays (no record extension): any language reads it.
import { Packr, Unpackr } from 'msgpackr';

/** Header of every message: `<name>.v<N>`. Unknown ones are set aside and counted, never guessed. */
export const SCHEMA_HEADER = 'Flowtag-Schema';

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
