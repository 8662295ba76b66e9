// The parts of an ELF64 executable that finding Go functions needs: segments, and sections only as a shortcut,
// because a stripped file may have no section table. Layout: elf(5), System V ABI AMD64 supplement.
import { ByteView } from './byte-view.ts';
import { GoBinaryError } from './go-binary-error.ts';

export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_NOTE = 4;
export const PT_TLS = 7;

export interface Segment {
  readonly type: number;
  readonly executable: boolean;
  readonly writable: boolean;
  readonly offset: number;
  readonly vaddr: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

export interface ElfFile {
  readonly view: ByteView;
  readonly pie: boolean;
  readonly entry: number;
  readonly segments: readonly Segment[];
}

/** `bytes` may be only the head of a file of `fileSize` bytes, as long as the program headers are inside. */
export function parseElf(bytes: Buffer, fileSize = bytes.length): ElfFile {
  const view = new ByteView(bytes);
  if (bytes.length < ELF_HEADER_BYTES || bytes.readUInt32BE(0) !== ELF_MAGIC)
    throw new GoBinaryError(
      'not_elf',
      'not an ELF executable (a script or a data file?); name the program that runs, not its wrapper',
    );
  // Class 64, little-endian, EM_X86_64.
  if (view.u8(4) !== 2 || view.u8(5) !== 1 || view.u16(18) !== 62)
    throw new GoBinaryError('not_amd64', 'built for another processor; only linux/amd64 can be probed');
  const type = view.u16(16);
  if (type !== ET_EXEC && type !== ET_DYN)
    throw new GoBinaryError(
      'not_elf',
      'an ELF object or core file; name the executable that was linked from it',
    );
  const start = view.u64(32);
  const entrySize = view.u16(54);
  const count = Math.min(view.u16(56), MAX_PROGRAM_HEADERS);
  const segments = Array.from({ length: count }, (_, i) => segmentAt(view, start + i * entrySize));
  checkLoads(segments, fileSize);
  return { view, pie: type === ET_DYN, entry: view.u64(24), segments };
}

/** Where the byte at `vaddr` is in the file, when `length` bytes from there are in one loaded segment. */
export function fileOffsetOf(elf: ElfFile, vaddr: number, length: number): number | undefined {
  for (const { type, vaddr: start, offset, fileSize } of elf.segments)
    if (type === PT_LOAD && vaddr >= start && vaddr + length <= start + fileSize)
      return vaddr - start + offset;
  return undefined;
}

/** File offset of a section, or undefined: no such section, or no section table that makes sense. */
export function sectionOffset(elf: ElfFile, ...names: readonly string[]): number | undefined {
  const sections = sectionHeaders(elf);
  const strings = sections[elf.view.u16(62)];
  if (strings === undefined) return undefined;
  for (const { name, offset } of sections) {
    const at = strings.offset + name;
    for (const wanted of names) {
      const end = at + wanted.length + 1;
      if (end <= elf.view.length && elf.view.bytes.toString('latin1', at, end) === `${wanted}\0`)
        return offset;
    }
  }
  return undefined;
}

/** True when there is no symbol table: the usual state of packaged programs. */
export function isStripped(elf: ElfFile): boolean {
  return !sectionHeaders(elf).some(({ type }) => type === SHT_SYMTAB);
}

/** Linkers write about ten. */
const MAX_PROGRAM_HEADERS = 64;
/** End of the addresses that a process can have. */
const MAX_VADDR = 2 ** 47;
const ELF_MAGIC = 0x7f454c46;
const ELF_HEADER_BYTES = 64;
const ET_EXEC = 2;
const ET_DYN = 3;
const SHT_SYMTAB = 2;
const SECTION_HEADER_BYTES = 64;

function segmentAt(view: ByteView, at: number): Segment {
  const flags = view.u32(at + 4);
  return {
    type: view.u32(at),
    executable: (flags & 1) !== 0,
    writable: (flags & 2) !== 0,
    offset: view.u64(at + 8),
    vaddr: view.u64(at + 16),
    fileSize: view.u64(at + 32),
    memorySize: view.u64(at + 40),
    align: view.u64(at + 48),
  };
}

/** What the kernel would refuse to run, and what would make a search of all segments cost more than the file. */
function checkLoads(segments: readonly Segment[], fileSize: number): void {
  let total = 0;
  for (const { type, offset, fileSize: size, vaddr } of segments) {
    if (type !== PT_LOAD) continue;
    total += size;
    if (offset + size <= fileSize && vaddr + size <= MAX_VADDR && total <= 2 * fileSize) continue;
    throw new GoBinaryError(
      'not_elf',
      `the file is truncated or damaged: a segment is to be bytes ${offset} to ${offset + size} of ${fileSize}`,
    );
  }
}

interface SectionHeader {
  readonly name: number;
  readonly type: number;
  readonly offset: number;
}

/** Empty when the table is missing, erased or outside the file: nothing depends on it. */
function sectionHeaders({ view }: ElfFile): SectionHeader[] {
  const start = view.u64(40);
  const count = view.u16(60);
  if (
    start === 0 ||
    view.u16(58) !== SECTION_HEADER_BYTES ||
    start + count * SECTION_HEADER_BYTES > view.length
  )
    return [];
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * SECTION_HEADER_BYTES;
    return { name: view.u32(at), type: view.u32(at + 4), offset: view.u64(at + 24) };
  });
}
