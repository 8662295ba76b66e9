// Little-endian reads of untrusted bytes: every access is checked, and outside of them there is one error.
import { GoBinaryError } from './go-binary-error.ts';

export class ByteView {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get length(): number {
    return this.bytes.length;
  }

  u8(at: number): number {
    this.check(at, 1);
    return this.bytes[at]!;
  }

  u16(at: number): number {
    this.check(at, 2);
    return this.bytes.readUInt16LE(at);
  }

  u32(at: number): number {
    this.check(at, 4);
    return this.bytes.readUInt32LE(at);
  }

  i32(at: number): number {
    this.check(at, 4);
    return this.bytes.readInt32LE(at);
  }

  /** Exact below 2^53. What is larger is no address or size of a real file and fails the next range check. */
  u64(at: number): number {
    this.check(at, 8);
    return this.bytes.readUInt32LE(at) + this.bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
  }

  i64(at: number): number {
    this.check(at, 8);
    return this.bytes.readUInt32LE(at) + this.bytes.readInt32LE(at + 4) * 0x1_0000_0000;
  }

  slice(at: number, length: number): Buffer {
    this.check(at, length);
    return this.bytes.subarray(at, at + length);
  }

  /** Where `needle` is in `length` bytes from `from`, at multiples of `align` in the file. */
  *occurrences(needle: Buffer, from: number, length: number, align: number): Generator<number> {
    const range = this.slice(from, length);
    for (let at = range.indexOf(needle); at >= 0; at = range.indexOf(needle, at + 1))
      if ((from + at) % align === 0) yield from + at;
  }

  private check(at: number, length: number): void {
    // Written so that NaN fails too.
    if (at >= 0 && length >= 0 && at + length <= this.bytes.length) return;
    throw new GoBinaryError(
      'not_elf',
      'the file is truncated or damaged: it refers to bytes that it does not have; copy or build it again',
    );
  }
}
