// Where a thread keeps its g: a signed offset from %fs, found by decoding runtime.gogo, which stores g there.
// -8 unless C thread-local variables share the block. ELF TLS variant II (AMD64): the block ends at %fs.
import { type ElfFile, fileOffsetOf, PT_DYNAMIC, PT_TLS } from './elf.ts';
import { type GoFunction, type GoFunctions, type Instruction, instructionsOf } from './program.ts';

/** `gogo` is what holds the code of runtime.gogo since Go 1.17. */
export const TLS_FUNCTIONS = ['gogo', 'runtime.gogo', 'runtime.mcall'] as const;

/** Undefined when no known form of the access is found. */
export function findTlsOffset(elf: ElfFile, functions: GoFunctions): number | undefined {
  for (const name of TLS_FUNCTIONS)
    for (const fn of functions.get(name) ?? []) {
      const offset = accessIn(elf, fn);
      if (offset !== undefined && offset < 0 && offset >= -MAX_TLS_BYTES) return offset;
    }
  return undefined;
}

const MAX_TLS_BYTES = 1 << 20;
const REX_MASK = 0xf8;
const REX_W = 0x48;
const FS_PREFIX = 0x64;
const STORE = 0x89;
const LOAD = 0x8b;

/** What is known to be in a register: an offset, or the address of the slot that will hold it. */
type Known = { readonly offset: number } | { readonly slot: number };

/** The first 64-bit access relative to %fs, directly or by a register that was loaded before. */
function accessIn(elf: ElfFile, fn: GoFunction): number | undefined {
  const { code } = fn;
  const registers = new Map<number, Known>();
  for (const instruction of instructionsOf(fn)) {
    const { at, length } = instruction;
    if (code[at] === FS_PREFIX && length >= 4 && (code[at + 1]! & REX_MASK) === REX_W) {
      const opcode = code[at + 2];
      if (opcode !== STORE && opcode !== LOAD) continue;
      const modrm = code[at + 3]! & 0xc7;
      // Executable: %fs:disp32 (a SIB byte without base and index).
      if (modrm === 0x04 && length === 9 && code[at + 4] === 0x25) return code.readInt32LE(at + 5);
      if (modrm >= 8 || length !== 4) return undefined;
      // Position-independent: %fs:(register).
      const known = registers.get(register(code[at + 1]! & 1, modrm));
      return known === undefined || 'offset' in known ? known?.offset : tlsSlot(elf, known.slot);
    }
    noteConstant(fn, instruction, registers);
  }
  return undefined;
}

/** `mov $offset,%reg`, or `mov slot(%rip),%reg` where the dynamic linker fills the slot. */
function noteConstant(
  { code, vaddr }: GoFunction,
  { at, length }: Instruction,
  to: Map<number, Known>,
): void {
  if (length !== 7 || (code[at]! & REX_MASK) !== REX_W) return;
  const modrm = code[at + 2]!;
  const value = code.readInt32LE(at + 3);
  if (code[at + 1] === 0xc7 && modrm >= 0xc0) to.set(register(code[at]! & 1, modrm & 7), { offset: value });
  else if (code[at + 1] === LOAD && (modrm & 0xc7) === 0x05)
    to.set(register((code[at]! >> 2) & 1, modrm >> 3), { slot: vaddr + at + length + value });
}

function register(extension: number, low: number): number {
  return extension * 8 + low;
}

const DT_SYMTAB = 6;
const DT_RELA = 7;
const DT_RELASZ = 8;
const R_X86_64_TPOFF64 = 18;
const DYNAMIC_BYTES = 16;
const RELA_BYTES = 24;
const SYMBOL_BYTES = 24;

/** What the dynamic linker will put into the slot at `vaddr`; without a relocation, what the file has there. */
function tlsSlot(elf: ElfFile, vaddr: number): number | undefined {
  const { view } = elf;
  const tls = elf.segments.find(({ type }) => type === PT_TLS);
  const dynamic = dynamicTable(elf);
  const size = dynamic.get(DT_RELASZ) ?? 0;
  const relocations = fileOffsetOf(elf, dynamic.get(DT_RELA) ?? Number.NaN, size);
  if (tls !== undefined && relocations !== undefined)
    for (let at = relocations; at + RELA_BYTES <= relocations + size; at += RELA_BYTES) {
      if (view.u64(at) !== vaddr || view.u32(at + 8) !== R_X86_64_TPOFF64) continue;
      const symbol = view.u32(at + 12);
      const symbols = dynamic.get(DT_SYMTAB) ?? Number.NaN;
      const entry = fileOffsetOf(elf, symbols + symbol * SYMBOL_BYTES, SYMBOL_BYTES);
      const base = symbol === 0 || entry === undefined ? 0 : view.u64(entry + 8);
      return base + view.i64(at + 16) - blockBytes(tls);
    }
  const at = fileOffsetOf(elf, vaddr, 8);
  return at === undefined ? undefined : view.i64(at);
}

/** Distance from the start of the block to %fs: its size, padded so that the start is aligned as asked. */
function blockBytes({
  vaddr,
  memorySize,
  align,
}: {
  vaddr: number;
  memorySize: number;
  align: number;
}): number {
  const step = Math.max(align, 1);
  const past = (vaddr + memorySize) % step;
  return memorySize + (past === 0 ? 0 : step - past);
}

function dynamicTable(elf: ElfFile): ReadonlyMap<number, number> {
  const table = new Map<number, number>();
  const segment = elf.segments.find(({ type }) => type === PT_DYNAMIC);
  if (segment === undefined) return table;
  const end = Math.min(segment.offset + segment.fileSize, elf.view.length);
  for (let at = segment.offset; at + DYNAMIC_BYTES <= end; at += DYNAMIC_BYTES) {
    const tag = elf.view.u64(at);
    if (tag === 0) break;
    table.set(tag, elf.view.u64(at + 8));
  }
  return table;
}
