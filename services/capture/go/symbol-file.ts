// Small reads of a large file, through a bounded cache of its pages. With read(): in a mapping the kernel would show
// us the breakpoints of probes instead of the code.
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { GoBinaryError } from './go-binary-error.ts';

const PAGE_BYTES = 4096;
const MAX_PAGES = 128;

export class SymbolFile {
  private readonly fd: number;
  private readonly memory = Buffer.allocUnsafeSlow(MAX_PAGES * PAGE_BYTES);
  /** By page number, the least recently used first. */
  private readonly pages = new Map<number, Buffer>();
  private lastNumber = -1;
  private last: Buffer = Buffer.alloc(0);

  /** Throws as fs does. */
  constructor(path: string) {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    this.fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  }

  u8(at: number): number {
    const page = this.page(Math.floor(at / PAGE_BYTES));
    const byte = page[at % PAGE_BYTES];
    if (byte === undefined) throw hasNoByte(at);
    return byte;
  }

  u32(at: number): number {
    const start = at % PAGE_BYTES;
    const page = this.page(Math.floor(at / PAGE_BYTES));
    if (start + 4 <= page.length) return page.readUInt32LE(start);
    return (this.u8(at) | (this.u8(at + 1) << 8) | (this.u8(at + 2) << 16) | (this.u8(at + 3) << 24)) >>> 0;
  }

  slice(at: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    const bytesRead = readSync(this.fd, bytes, 0, length, at);
    if (bytesRead < length) throw hasNoByte(at + bytesRead);
    return bytes;
  }

  /** The text up to a zero byte, or its first `maxBytes`. */
  text(at: number, maxBytes: number): string {
    const parts: Buffer[] = [];
    for (let left = maxBytes; left > 0; ) {
      this.u8(at); // fails behind the end
      const start = at % PAGE_BYTES;
      const part = this.last.subarray(start, start + left);
      const end = part.indexOf(0);
      parts.push(end < 0 ? part : part.subarray(0, end));
      if (end >= 0) break;
      at += part.length;
      left -= part.length;
    }
    return Buffer.concat(parts).toString('utf8');
  }

  close(): void {
    this.pages.clear();
    closeSync(this.fd);
  }

  private page(number: number): Buffer {
    if (number === this.lastNumber) return this.last;
    const page = this.pages.get(number) ?? this.read(number);
    this.pages.delete(number);
    this.pages.set(number, page);
    this.lastNumber = number;
    this.last = page;
    return page;
  }

  /** Into memory that no page has, or that of the page which goes. */
  private read(number: number): Buffer {
    const [oldest, replaced] = this.pages.size < MAX_PAGES ? [] : this.pages.entries().next().value!;
    const start = replaced?.byteOffset ?? this.pages.size * PAGE_BYTES;
    const bytesRead = readSync(this.fd, this.memory, start, PAGE_BYTES, number * PAGE_BYTES);
    if (oldest !== undefined) this.pages.delete(oldest);
    return this.memory.subarray(start, start + bytesRead);
  }
}

function hasNoByte(at: number): GoBinaryError {
  return new GoBinaryError('not_elf', `the file is truncated or damaged: it has no byte ${at}`);
}
