// Where a call's result can be probed cheaply: the first instruction behind the call that the kernel emulates
// (arch/x86/kernel/uprobes.c, branch_setup_xol_ops), as long as nothing before it changes %rax, which has the result.
import { type GoFunction, type Instruction, instructionsOf } from './program.ts';

/** `call`: of the call, from the start of the function. Undefined when anything in between is not understood. */
export function emulatedAfter(fn: GoFunction, call: number): number | undefined {
  let steps = 0;
  for (const instruction of instructionsOf(fn)) {
    if (instruction.at <= call) continue;
    if (isEmulated(fn.code, instruction)) return instruction.at;
    if (++steps === MAX_STEPS || !keepsRax(fn.code, instruction)) return undefined;
  }
  return undefined;
}

/** Seen: 5 in runtime.newproc.func1, 13 in net/http.(*conn).serve. */
const MAX_STEPS = 32;

/** Jumps, conditional jumps and the one-byte `nop`. A call too, but behind one the result is gone. */
function isEmulated(code: Buffer, { at }: Instruction): boolean {
  const opcode = code[at]!;
  if (opcode === 0x0f) return (code[at + 1]! & 0xf0) === 0x80;
  return opcode === 0x90 || opcode === 0xeb || opcode === 0xe9 || opcode === 0xe8 || (opcode & 0xf0) === 0x70;
}

/** True for the few kinds of instruction that the compiler puts there, when their destination is not %rax. */
function keepsRax(code: Buffer, { at, length }: Instruction): boolean {
  const end = at + length;
  let i = at;
  if (code[i] === 0x66 && (code[i + 1] === 0x90 || code[i + 1] === 0x0f)) i++; // padding
  const rex = (code[i]! & 0xf0) === 0x40 ? code[i++]! : 0;
  const opcode = code[i++]!;
  if (opcode === 0x90) return true;
  if (opcode >= 0xb8 && opcode <= 0xbf) return (opcode & 7) !== 0 || (rex & REX_B) !== 0; // mov $imm,%reg
  const second = opcode === 0x0f ? code[i++]! : 0;
  if (i >= end) return false;
  const modrm = code[i]!;
  const registerField = (modrm >> 3) & 7;
  const toRegister = registerField !== 0 || (rex & REX_R) !== 0;
  const toMemory = modrm >> 6 !== 3 || (modrm & 7) !== 0 || (rex & REX_B) !== 0;
  switch (opcode) {
    case 0x0f: // nop, cmovcc, movzx, movsx; SSE moves go elsewhere
      if (second === 0x1f || second === 0x11) return true;
      if ((second & 0xf0) === 0x40 || (second & 0xf6) === 0xb6) return toRegister;
      return false;
    case 0x8b: // mov from memory or register
    case 0x8d: // lea
      return toRegister;
    case 0x88: // mov to memory or register
    case 0x89:
    case 0xc6:
    case 0xc7:
      return toMemory;
    case 0x38: // cmp, test
    case 0x39:
    case 0x3a:
    case 0x3b:
    case 0x84:
    case 0x85:
      return true;
    case 0x80: // cmp $imm
    case 0x81:
    case 0x83:
      return registerField === 7;
    default:
      return false;
  }
}

const REX_R = 4;
const REX_B = 1;
