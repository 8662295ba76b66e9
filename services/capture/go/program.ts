// Functions of one executable by name, with their code: what probes and the search for g are placed by.
import { type ElfFile, fileOffsetOf } from './elf.ts';
import { type FunctionTable, findFunctions } from './pclntab.ts';
import { instructionLength } from './x86.ts';

export interface GoFunction {
  readonly name: string;
  readonly vaddr: number;
  readonly fileOffset: number;
  readonly code: Buffer;
  /** Contains a `defer`: then the compiler inlines it nowhere (cmd/compile/internal/inline, Go 1.18 to 1.27). */
  readonly defers: boolean;
}

export interface Instruction {
  /** From the start of the function. */
  readonly at: number;
  readonly length: number;
}

export type GoFunctions = ReadonlyMap<string, readonly GoFunction[]>;

export function readFunctions(
  elf: ElfFile,
  table: FunctionTable,
  textStart: number,
  names: readonly string[],
): GoFunctions {
  const functions = new Map<string, GoFunction[]>();
  for (const [name, entries] of findFunctions(elf, table, names)) {
    const withCode = entries.flatMap(({ offset, size, defers }): GoFunction[] => {
      const vaddr = textStart + offset;
      const fileOffset = fileOffsetOf(elf, vaddr, size);
      if (fileOffset === undefined) return [];
      return [{ name, vaddr, fileOffset, code: elf.view.slice(fileOffset, size), defers }];
    });
    functions.set(name, withCode);
  }
  return functions;
}

/** In order; ends early at bytes that are no instruction. */
export function* instructionsOf({ code }: GoFunction): Generator<Instruction> {
  for (let at = 0; at < code.length; ) {
    const length = instructionLength(code, at);
    if (length === 0) return;
    yield { at, length };
    at += length;
  }
}

/** Where `from` calls `target` directly, or jumps to it as its last act. */
export function branchesTo(from: GoFunction, target: GoFunction): number[] {
  const sites: number[] = [];
  for (const { at, length } of instructionsOf(from)) {
    const opcode = from.code[at];
    if (length !== 5 || (opcode !== CALL_REL32 && opcode !== JMP_REL32)) continue;
    if (from.vaddr + at + length + from.code.readInt32LE(at + 1) === target.vaddr) sites.push(at);
  }
  return sites;
}

/** Where it returns. */
export function returnsOf(fn: GoFunction): number[] {
  const sites: number[] = [];
  for (const { at } of instructionsOf(fn)) if (fn.code[at] === RET) sites.push(at);
  return sites;
}

/** Whether `instructionsOf` gets to the end. */
export function isDecodable(fn: GoFunction): boolean {
  let end = 0;
  for (const { at, length } of instructionsOf(fn)) end = at + length;
  return end === fn.code.length;
}

/** Of `mov %reg64,disp(%base)`, when that is the instruction and the base is not the stack. */
export function storeDisplacement({ code }: GoFunction, { at, length }: Instruction): number | undefined {
  if ((code[at]! & REX_MASK) !== REX_W || code[at + 1] !== STORE || (code[at + 2]! & 7) === RSP)
    return undefined;
  const mod = code[at + 2]! >> 6;
  if (mod === 1 && length === 4) return code.readInt8(at + 3);
  if (mod === 2 && length === 7) return code.readInt32LE(at + 3);
  return undefined;
}

/**
 * The conditional jump of the stack check that a Go function begins with: `cmp 0x10(%r14),%rsp` (a larger frame
 * compares %r12), then `jbe` to the code that grows the stack. The kernel emulates a jump, so a uprobe there costs
 * a twentieth of one on the first instruction; and it is passed once, where the entry is run again after growing.
 */
export function stackCheckBranch(fn: GoFunction): number | undefined {
  let count = 0;
  let afterCheck = false;
  for (const { at, length } of instructionsOf(fn)) {
    if (afterCheck) return isJbeInside(fn.code, at, length) ? at : undefined;
    if (++count === MAX_CHECK_INSTRUCTIONS) return undefined;
    const four = length === 4 ? fn.code.readUInt32BE(at) : 0;
    afterCheck = four === CMP_RSP_STACKGUARD || four === CMP_R12_STACKGUARD;
  }
  return undefined;
}

const CALL_REL32 = 0xe8;
const JMP_REL32 = 0xe9;
const RET = 0xc3;
const REX_MASK = 0xfa;
const REX_W = 0x48;
const STORE = 0x89;
const RSP = 4;
const CMP_RSP_STACKGUARD = 0x493b6610;
const CMP_R12_STACKGUARD = 0x4d3b6610;
/** The longest form computes the frame's end with a wrap-around check: five instructions before the jump. */
const MAX_CHECK_INSTRUCTIONS = 6;

function isJbeInside(code: Buffer, at: number, length: number): boolean {
  let to: number;
  if (length === 2 && code[at] === 0x76) to = at + 2 + code.readInt8(at + 1);
  else if (length === 6 && code[at] === 0x0f && code[at + 1] === 0x86) to = at + 6 + code.readInt32LE(at + 2);
  else return false;
  return to > at && to < code.length;
}
