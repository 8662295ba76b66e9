// Where control goes after an x86-64 instruction, for those that Go's compiler and assembler write.
// Source: Intel SDM volume 2, appendix A.
import { instructionLength } from './x86.ts';

/** `branch` may also go on; `anywhere` is a jump whose target is in a register or memory, as of a jump table. */
export type Flow = 'on' | 'call' | 'branch' | 'jump' | 'return' | 'end' | 'anywhere';

export interface FlowInstruction {
  /** From the start of the code. */
  readonly at: number;
  readonly next: number;
  readonly flow: Flow;
  /** Of a branch, jump or call that names it; it may be outside of the code. */
  readonly target: number | undefined;
}

/** In order; ends early at bytes that are no instruction. */
export function* flowInstructionsOf(code: Buffer): Generator<FlowInstruction> {
  for (let at = 0; at < code.length; ) {
    const next = at + instructionLength(code, at);
    if (next === at) return;
    yield { at, next, ...flowAt(code, at, next) };
    at = next;
  }
}

function flowAt(code: Buffer, at: number, next: number): Pick<FlowInstruction, 'flow' | 'target'> {
  while (isPrefix(code[at]!)) at++;
  const opcode = code[at]!;
  const second = code[at + 1]!;
  if (opcode >= 0x70 && opcode <= 0x7f) return { flow: 'branch', target: next + code.readInt8(next - 1) };
  switch (opcode) {
    case 0x0f:
      if ((second & 0xf0) === 0x80) return { flow: 'branch', target: next + code.readInt32LE(next - 4) };
      return second === 0x0b ? END : ON; // ud2
    case 0xe0: // loop, loopz, loopnz and jrcxz
    case 0xe1:
    case 0xe2:
    case 0xe3:
      return { flow: 'branch', target: next + code.readInt8(next - 1) };
    case 0xe8:
      return { flow: 'call', target: next + code.readInt32LE(next - 4) };
    case 0xe9:
      return { flow: 'jump', target: next + code.readInt32LE(next - 4) };
    case 0xeb:
      return { flow: 'jump', target: next + code.readInt8(next - 1) };
    case 0xff: {
      const operation = (second >> 3) & 7;
      if (operation === 2 || operation === 3) return { flow: 'call', target: undefined };
      return operation === 4 || operation === 5 ? { flow: 'anywhere', target: undefined } : ON;
    }
    case 0xc2: // ret
    case 0xc3:
    case 0xca:
    case 0xcb:
      return RETURN;
    case 0xcc: // int3, which fills the space between functions
    case 0xf4: // hlt
      return END;
    default:
      return ON;
  }
}

const ON = { flow: 'on', target: undefined } as const;
const RETURN = { flow: 'return', target: undefined } as const;
const END = { flow: 'end', target: undefined } as const;

/** Those that stand before branches: REX, repz ret, notrack jmp. */
function isPrefix(byte: number): boolean {
  return (byte & 0xf0) === 0x40 || byte === 0xf2 || byte === 0xf3 || byte === 0x3e;
}
