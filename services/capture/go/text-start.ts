// The address that function offsets in the pclntab count from. The header has it up to Go 1.25 (position-independent
// files included); from 1.26 the field is 0 on disk and the address is found by what must stand where.
import { type ElfFile, fileOffsetOf, PT_LOAD } from './elf.ts';
import { type FunctionTable, findFunctions } from './pclntab.ts';

export interface TextStart {
  readonly vaddr: number;
  readonly by: 'pclntab' | 'entry point' | 'prologue search';
}

/** Undefined when no address fits: the table is not this program's. */
export function findTextStart(elf: ElfFile, table: FunctionTable): TextStart | undefined {
  const functions = findFunctions(elf, table, [...WITNESSES, ENTRY_FUNCTION]);
  const witnesses = WITNESSES.flatMap((name) => functions.get(name)![0]?.offset ?? []);
  if (witnesses.length < MIN_WITNESSES) return undefined;
  const fits = (vaddr: number): boolean =>
    countPrologues(elf, vaddr, witnesses) >= witnesses.length - TOLERANCE;

  if (table.textStart !== 0 && fits(table.textStart)) return { vaddr: table.textStart, by: 'pclntab' };
  const entry = functions.get(ENTRY_FUNCTION)![0];
  // Not so when a C linker made the file: it is entered in the C library's start code.
  if (entry !== undefined && fits(elf.entry - entry.offset))
    return { vaddr: elf.entry - entry.offset, by: 'entry point' };
  for (const { type, executable, vaddr, fileSize } of elf.segments) {
    if (type !== PT_LOAD || !executable) continue;
    const end = vaddr + Math.min(fileSize, MAX_SEARCH_BYTES);
    for (let at = roundUp(vaddr); at < end; at += TEXT_ALIGN)
      if (fits(at)) return { vaddr: at, by: 'prologue search' };
  }
  return undefined;
}

/** Where an internally linked file is entered. */
const ENTRY_FUNCTION = '_rt0_amd64_linux';
/** In every Go program of every supported version, each with a stack check at its start. */
const WITNESSES = [
  'runtime.newproc1',
  'runtime.schedule',
  'runtime.mallocgc',
  'runtime.gcStart',
  'runtime.findRunnable',
  'runtime.malg',
  'runtime.schedinit',
  'runtime.mstart1',
  'runtime.goexit1',
  'runtime.newproc.func1',
];
const MIN_WITNESSES = 6;
/** Profile-guided inlining and compiler changes may take the check from a function or two. */
const TOLERANCE = 2;
const TEXT_ALIGN = 16;
/** The text begins right behind the little code that a C linker puts before it. */
const MAX_SEARCH_BYTES = 64 << 20;
const CMP_RSP_STACKGUARD = 0x493b6610;

function countPrologues(elf: ElfFile, textStart: number, offsets: readonly number[]): number {
  let count = 0;
  for (const [i, offset] of offsets.entries()) {
    const at = fileOffsetOf(elf, textStart + offset, 4);
    if (at !== undefined && startsWithStackCheck(elf.view.bytes, at)) count++;
    else if (i - count >= TOLERANCE) return 0;
  }
  return count;
}

/** `cmp 0x10(%r14),%rsp`, or `lea -frame(%rsp),%r12` before the comparison. */
function startsWithStackCheck(bytes: Buffer, at: number): boolean {
  if (bytes.readUInt32BE(at) === CMP_RSP_STACKGUARD) return true;
  const modrm = bytes[at + 2];
  return (
    bytes[at] === 0x4c &&
    bytes[at + 1] === 0x8d &&
    (modrm === 0x64 || modrm === 0xa4) &&
    bytes[at + 3] === 0x24
  );
}

function roundUp(vaddr: number): number {
  return Math.ceil(vaddr / TEXT_ALIGN) * TEXT_ALIGN;
}
