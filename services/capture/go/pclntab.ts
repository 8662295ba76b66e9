// Go's function table (pclntab): the runtime needs it for stack traces, so stripping cannot remove it.
// Layout since Go 1.18: src/internal/abi/symtab.go and src/debug/gosym/pclntab.go of the Go source.
import { type ElfFile, PT_LOAD, sectionOffset } from './elf.ts';

/** File offsets of one table that looks right; whether it is THE table shows when its text start is found. */
export interface FunctionTable {
  /** Of its header. */
  readonly header: number;
  readonly names: number;
  readonly namesEnd: number;
  /** `count` pairs (u32 entry offset, u32 function record offset), then the end of the last function. */
  readonly functions: number;
  readonly count: number;
  /** Address of the first function; 0 in files linked by Go 1.26 and later. */
  readonly textStart: number;
}

export interface FunctionEntry {
  readonly name: string;
  /** From the start of the text. */
  readonly offset: number;
  readonly size: number;
  /** Contains a `defer`. */
  readonly defers: boolean;
}

/**
 * Tables in the file, the likeliest first. The section is a shortcut: externally linked PIEs before Go 1.26 have
 * none of that name. A program that carries another Go program inside has more than one table.
 */
export function findFunctionTables(elf: ElfFile): FunctionTable[] {
  const section = sectionOffset(elf, '.gopclntab', '.data.rel.ro.gopclntab');
  const named = section === undefined ? undefined : tableAt(elf, section);
  if (named !== undefined) return [named];
  const tables: FunctionTable[] = [];
  for (const { type, offset, fileSize } of elf.segments) {
    if (type !== PT_LOAD) continue;
    for (const magic of HEADERS)
      for (const at of elf.view.occurrences(magic, offset, fileSize, 8)) {
        const table = tableAt(elf, at);
        if (table !== undefined) tables.push(table);
      }
  }
  return tables.sort((a, b) => b.count - a.count).slice(0, MAX_TABLES);
}

/**
 * Functions by name. One name may have several: a Go function and its wrapper for assembly callers.
 * Names are looked up once as bytes, then the table is walked comparing numbers: no string per function.
 */
export function findFunctions(
  { view }: ElfFile,
  table: FunctionTable,
  names: readonly string[],
): ReadonlyMap<string, readonly FunctionEntry[]> {
  const wanted = new Map<number, string>();
  for (const name of names)
    for (const at of nameOffsets(view.bytes.subarray(table.names, table.namesEnd), name))
      wanted.set(at, name);
  const found = new Map<string, FunctionEntry[]>(names.map((name) => [name, []]));
  for (let i = 0; i < table.count; i++) {
    const at = table.functions + 8 * i;
    const record = table.functions + view.u32(at + 4);
    // A damaged record is some other function's problem.
    if (record + 16 > view.length) continue;
    const name = wanted.get(view.u32(record + 4));
    if (name === undefined) continue;
    const offset = view.u32(at);
    const size = view.u32(at + 8) - offset;
    const entries = found.get(name)!;
    if (size > 0 && size <= MAX_FUNCTION_BYTES && entries.length < MAX_SAME_NAME)
      entries.push({ name, offset, size, defers: view.u32(record + 12) !== 0 });
  }
  return found;
}

/** Magic of Go 1.18–1.19 and of 1.20 on, two zero bytes, instruction alignment 1, pointer size 8. */
const HEADERS = [
  Buffer.from([0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]),
  Buffer.from([0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8]),
];
const HEADER_BYTES = 72;
const MAX_HEADER_BYTES = 4096;
const MAX_FUNCTIONS = 5_000_000;
const MAX_FUNCTION_BYTES = 1 << 20;
const MAX_SAME_NAME = 8;
const MAX_TABLES = 4;

function tableAt({ view }: ElfFile, at: number): FunctionTable | undefined {
  if (at + HEADER_BYTES > view.length) return undefined;
  const head = view.slice(at, 8);
  if (!HEADERS.some((magic) => head.equals(magic))) return undefined;
  const count = view.u64(at + 8);
  const names = view.u64(at + 32);
  const compilationUnits = view.u64(at + 40);
  const functions = view.u64(at + 64);
  // The header is 72 bytes, but names begin as late as 96 in files of some versions.
  if (count < 1 || count > MAX_FUNCTIONS || names < HEADER_BYTES || names > MAX_HEADER_BYTES)
    return undefined;
  if (compilationUnits <= names || functions < compilationUnits) return undefined;
  if (at + functions + 8 * count + 4 > view.length) return undefined;
  return {
    header: at,
    names: at + names,
    namesEnd: at + compilationUnits,
    functions: at + functions,
    count,
    textStart: view.u64(at + 24),
  };
}

function* nameOffsets(names: Buffer, name: string): Generator<number> {
  const terminated = Buffer.from(`${name}\0`);
  let at = names.indexOf(terminated);
  for (let found = 0; at >= 0 && found < MAX_SAME_NAME; at = names.indexOf(terminated, at + 1)) {
    if (at > 0 && names[at - 1] !== 0) continue; // the end of a longer name
    yield at;
    found++;
  }
}
