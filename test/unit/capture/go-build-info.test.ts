import { describe, expect, it } from 'vitest';
import { readBuildId, readBuildInfo } from '../../../services/capture/go/build-info.ts';
import { parseElf } from '../../../services/capture/go/elf.ts';

const MARKER = '0123456789abcdef';
const RODATA = 0x200;
const DATA = 0x800;
const NOTES = 0xc00;

describe('readBuildInfo', () => {
  it.each([
    ['path\texample.org/a/cmd/b\nmod\texample.org/a\t(devel)\t\ndep\tx\tv1\n', 'example.org/a'],
    ['path\texample.org/a/cmd/b\nbuild\t-compiler=gc\n', 'example.org/a/cmd/b'],
    ['path\tcommand-line-arguments\n', ''],
    ['', ''],
  ])('names the main module of %j', (modules, modulePath) => {
    const bytes = image();
    writeInfo(bytes, DATA, 'go1.24.4', modules);
    expect(readBuildInfo(parseElf(bytes))).toEqual({ goVersion: 'go1.24.4', modulePath });
  });

  it('prefers writable data to an executable that is embedded as read-only data', () => {
    const bytes = image();
    writeInfo(bytes, RODATA, 'go1.20', '');
    expect(readBuildInfo(parseElf(bytes))?.goVersion).toBe('go1.20');
    writeInfo(bytes, DATA, 'go1.24.4', '');
    expect(readBuildInfo(parseElf(bytes))?.goVersion).toBe('go1.24.4');
  });

  it('takes no look-alike', () => {
    const bytes = image();
    expect(readBuildInfo(parseElf(bytes))).toBeUndefined();
    writeInfo(bytes, DATA + 8, 'go1.24.4', ''); // unaligned
    expect(readBuildInfo(parseElf(bytes))).toBeUndefined();
    writeInfo(bytes, DATA + 64, 'rust', '');
    expect(readBuildInfo(parseElf(bytes))).toBeUndefined();
  });

  it('has no version for the pointers that Go before 1.18 wrote', () => {
    const bytes = image();
    writeInfo(bytes, DATA, 'go1.24.4', '');
    bytes[DATA + 15] = 0;
    expect(readBuildInfo(parseElf(bytes))).toEqual({ goVersion: '', modulePath: '' });
  });
});

describe('readBuildId', () => {
  it('is in the Go note, behind others', () => {
    const bytes = image();
    expect(readBuildId(parseElf(bytes))).toBe('');
    const next = writeNote(bytes, NOTES, 'GNU\0', 3, 'abc');
    writeNote(bytes, next, 'Go\0\0', 4, 'one/two');
    expect(readBuildId(parseElf(bytes))).toBe('one/two');
  });

  it('is empty when the note does not fit', () => {
    const bytes = image();
    writeNote(bytes, NOTES, 'Go\0\0', 4, 'one/two');
    bytes.writeUInt32LE(0xffffffff, NOTES + 4);
    expect(readBuildId(parseElf(bytes))).toBe('');
  });
});

function writeInfo(bytes: Buffer, at: number, version: string, modules: string): void {
  bytes.write('\xff Go buildinf:\x08\x02', at, 'latin1');
  const text = `${MARKER}${modules}${MARKER}`;
  let end = at + 32;
  for (const part of [version, text]) {
    // The length as a varint of two bytes, for any length below 2^14.
    bytes[end++] = (part.length & 0x7f) | 0x80;
    bytes[end++] = part.length >> 7;
    end += bytes.write(part, end, 'latin1');
  }
}

function writeNote(bytes: Buffer, at: number, name: string, type: number, description: string): number {
  bytes.writeUInt32LE(name.length, at);
  bytes.writeUInt32LE(description.length, at + 4);
  bytes.writeUInt32LE(type, at + 8);
  bytes.write(name, at + 12, 'latin1');
  bytes.write(description, at + 12 + name.length, 'latin1');
  return at + 12 + name.length + Math.ceil(description.length / 4) * 4;
}

/** Read-only data, writable data and notes, no section table. */
function image(): Buffer {
  const bytes = Buffer.alloc(0x1000);
  Buffer.from('7f454c46020101', 'hex').copy(bytes);
  bytes.writeUInt16LE(2, 16);
  bytes.writeUInt16LE(62, 18);
  bytes.writeUInt32LE(64, 32);
  bytes.writeUInt16LE(56, 54);
  const segments = [
    [1, 4, RODATA, DATA - RODATA],
    [1, 6, DATA, NOTES - DATA],
    [4, 4, NOTES, 0x200],
  ] as const;
  bytes.writeUInt16LE(segments.length, 56);
  for (const [i, [type, flags, offset, size]] of segments.entries()) {
    const at = 64 + 56 * i;
    bytes.writeUInt32LE(type, at);
    bytes.writeUInt32LE(flags, at + 4);
    for (const [field, value] of [offset, offset, offset, size, size, 8].entries())
      bytes.writeUInt32LE(value, at + 8 + 8 * field);
  }
  return bytes;
}
