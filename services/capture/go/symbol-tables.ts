// Where an executable keeps what turns an address into functions, files and lines, as file offsets: found once from
// the whole file, so that looking up needs only small reads. Layout: runtime/symtab.go and runtime2.go of Go 1.18–1.27.
import { type ElfFile, PT_LOAD, type Segment } from './elf.ts';
import { GoBinaryError } from './go-binary-error.ts';
import type { FunctionTable } from './pclntab.ts';

export interface SymbolTables {
  /** From the start of the first executable segment to the first Go function. */
  readonly textOffset: number;
  /** File offset of that segment. */
  readonly executable: number;
  readonly count: number;
  /** `count` pairs (u32 entry, u32 record, both relative), then the end of the last function. */
  readonly functions: number;
  readonly names: number;
  readonly namesEnd: number;
  readonly unitFiles: number;
  readonly fileNames: number;
  readonly pcTables: number;
  readonly layout: RecordLayout;
  /** What the inline trees' offsets count from (the linker's go:func.*); undefined: not found. */
  readonly inlineTrees: number | undefined;
  /** The file's pclntab header: tells that a file opened later is the same. */
  readonly header: number;
  readonly headerBytes: Buffer;
}

/** What Go 1.20 changed, together with the magic of the header. */
export interface RecordLayout {
  readonly functionRecordBytes: number;
  /** Byte with the number of the record's FUNCDATA entries. */
  readonly funcdataCount: number;
  readonly inlinedCallBytes: number;
  readonly inlinedName: number;
  readonly inlinedParentPc: number;
  /** A line number: of the call before Go 1.20, of the inlined function's beginning since. */
  readonly inlinedLine: number;
}

export const NO_FUNCDATA = 0xffff_ffff;
export const FUNCDATA_INL_TREE = 3;

/** `table` and `textStart` (an address) as they were found in `elf`. */
export function locateSymbols(elf: ElfFile, table: FunctionTable, textStart: number): SymbolTables {
  const { view } = elf;
  const { header, count, functions, names, namesEnd } = table;
  const layout = view.u32(header) === MAGIC_GO_118 ? LAYOUT_GO_118 : LAYOUT_GO_120;
  const executable = firstExecutable(elf);
  const found = {
    textOffset: textStart - executable.vaddr,
    executable: executable.offset,
    count,
    functions,
    names,
    namesEnd,
    unitFiles: header + view.u64(header + 40),
    fileNames: header + view.u64(header + 48),
    pcTables: header + view.u64(header + 56),
    layout,
    header,
    headerBytes: Buffer.from(view.slice(header, HEADER_BYTES)),
  };
  return { ...found, inlineTrees: findInlineTrees(elf, table, layout) };
}

const MAGIC_GO_118 = 0xffff_fff0;
const HEADER_BYTES = 72;
/** More than the read-only data of any program seen has; a crafted one could keep us for minutes. */
const MAX_BASES = 8 << 20;
const LAYOUT_GO_118: RecordLayout = {
  functionRecordBytes: 40,
  funcdataCount: 39,
  inlinedCallBytes: 20,
  inlinedName: 12,
  inlinedParentPc: 16,
  inlinedLine: 8,
};
const LAYOUT_GO_120: RecordLayout = {
  functionRecordBytes: 44,
  funcdataCount: 43,
  inlinedCallBytes: 16,
  inlinedName: 4,
  inlinedParentPc: 8,
  inlinedLine: 12,
};
/** Functions whose inline trees must make sense; few programs have fewer than a thousand. */
const WITNESSES = 64;
const MIN_WITNESSES = 8;
/** For code that a generator numbered strangely. */
const TOLERANCE = 2;
/** The linker aligns go:func.* to at least the words in it. */
const TREE_ALIGN = 4;
const MAX_FUNCDATA = 16;
const MAX_LINE = 1 << 24;

/** At the kernel's mm->start_code, from which stacks count: the lowest executable segment. */
function firstExecutable({ segments }: ElfFile): Segment {
  const [first] = segments
    .filter(({ type, executable }) => type === PT_LOAD && executable)
    .sort((a, b) => a.vaddr - b.vaddr);
  if (first === undefined) throw new GoBinaryError('not_elf', 'the file is damaged: it has no code');
  return first;
}

interface Witness {
  readonly tree: number;
  readonly size: number;
}

/**
 * The base stands in the runtime's moduledata, at a place that moves between versions and behind relocations that a
 * C linker leaves out of the file. It is found by what must stand there instead: at the right base the first entry
 * of every inline tree names a function and a place inside the function that it was inlined into.
 */
function findInlineTrees(elf: ElfFile, table: FunctionTable, layout: RecordLayout): number | undefined {
  const witnesses = findWitnesses(elf, table, layout);
  if (witnesses.length < MIN_WITNESSES) return undefined;
  const reach = Math.max(...witnesses.map(({ tree }) => tree)) + layout.inlinedCallBytes;
  // Read-only data has them; a C linker may have put that into an executable or a writable segment.
  const rank = (writable: boolean, executable: boolean) => (executable ? 2 : writable ? 1 : 0);
  const loads = elf.segments
    .filter(({ type }) => type === PT_LOAD)
    .sort((a, b) => rank(a.writable, a.executable) - rank(b.writable, b.executable));
  let left = MAX_BASES;
  for (const { offset, fileSize } of loads) {
    const last = offset + fileSize - reach;
    for (let base = Math.ceil(offset / TREE_ALIGN) * TREE_ALIGN; base <= last; base += TREE_ALIGN) {
      if (--left < 0) return undefined;
      if (countMisfits(elf, table, layout, base, witnesses) <= TOLERANCE) return base;
    }
  }
  return undefined;
}

function findWitnesses({ view }: ElfFile, table: FunctionTable, layout: RecordLayout): Witness[] {
  const witnesses = new Map<number, Witness>();
  for (let i = 0; i < table.count && witnesses.size < WITNESSES; i++) {
    const at = table.functions + 8 * i;
    const record = table.functions + view.u32(at + 4);
    if (record + layout.functionRecordBytes > view.length) continue;
    const funcdata = record + layout.functionRecordBytes + 4 * view.u32(record + 28);
    const count = view.u8(record + layout.funcdataCount);
    if (count <= FUNCDATA_INL_TREE || count > MAX_FUNCDATA || funcdata + 4 * count > view.length) continue;
    const tree = view.u32(funcdata + 4 * FUNCDATA_INL_TREE);
    if (tree !== NO_FUNCDATA) witnesses.set(tree, { tree, size: view.u32(at + 8) - view.u32(at) });
  }
  return [...witnesses.values()];
}

/** Stops counting beyond TOLERANCE. */
function countMisfits(
  elf: ElfFile,
  table: FunctionTable,
  layout: RecordLayout,
  base: number,
  witnesses: readonly Witness[],
): number {
  let count = 0;
  for (const witness of witnesses) {
    if (!fits(elf, table, layout, base, witness) && ++count > TOLERANCE) break;
  }
  return count;
}

function fits(
  { view: { bytes } }: ElfFile,
  { names, namesEnd }: FunctionTable,
  { inlinedName, inlinedParentPc, inlinedLine }: RecordLayout,
  base: number,
  { tree, size }: Witness,
): boolean {
  // Unchecked reads: the caller keeps base + tree inside of the segment, and this runs millions of times.
  const at = base + tree;
  const name = names + bytes.readUInt32LE(at + inlinedName);
  if (name >= namesEnd || (name > names && bytes[name - 1] !== 0)) return false;
  if (bytes.readUInt32LE(at + inlinedParentPc) >= size || bytes[at + 3] !== 0) return false;
  // Zeroed memory would fit but for this.
  const line = bytes.readUInt32LE(at + inlinedLine);
  return line > 0 && line <= MAX_LINE;
}
