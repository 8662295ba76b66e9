// Growing buffer of little-endian values, as ClickHouse's RowBinary wants them. Pure.

export class ByteWriter {
  private bytes: Buffer;
  private end = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.end++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.end = this.bytes.writeUInt16LE(value, this.end);
  }

  u32(value: number): void {
    this.reserve(4);
    this.end = this.bytes.writeUInt32LE(value, this.end);
  }

  /** Exact below 2^53. */
  u64(value: number): void {
    this.reserve(8);
    this.end = this.bytes.writeUInt32LE(value % 0x1_0000_0000, this.end);
    this.end = this.bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), this.end);
  }

  bigU64(value: bigint): void {
    this.reserve(8);
    this.end = this.bytes.writeBigUInt64LE(value, this.end);
  }

  zeros(length: number): void {
    this.reserve(length);
    this.bytes.fill(0, this.end, this.end + length);
    this.end += length;
  }

  encoded(text: string, encoding: 'hex' | 'base64', length: number): void {
    this.reserve(length);
    this.end += this.bytes.write(text, this.end, length, encoding);
  }

  raw(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.end);
    this.end += source.length;
  }

  /** Length as LEB128, then UTF-8. Most texts are short ASCII: written first, the length put before it afterwards. */
  text(value: string): void {
    const most = 3 * value.length;
    this.reserve(most + 5);
    if (most < 0x80) {
      const written = this.bytes.write(value, this.end + 1);
      this.bytes[this.end] = written;
      this.end += written + 1;
      return;
    }
    let length = Buffer.byteLength(value);
    const total = length;
    for (; length >= 0x80; length = Math.floor(length / 0x80))
      this.bytes[this.end++] = (length % 0x80) | 0x80;
    this.bytes[this.end++] = length;
    this.end += this.bytes.write(value, this.end, total);
  }

  /** A view on what was written; valid until the next write. */
  view(): Buffer {
    return this.bytes.subarray(0, this.end);
  }

  private reserve(length: number): void {
    if (this.end + length <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.bytes.length, this.end + length));
    this.bytes.copy(larger, 0, 0, this.end);
    this.bytes = larger;
  }
}
