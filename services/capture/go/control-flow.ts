// What can happen in a function after a call that it makes.
import { type FlowInstruction, flowInstructionsOf } from './x86-flow.ts';

export interface ControlFlow {
  readonly instructions: readonly FlowInstruction[];
  readonly size: number;
  /** False: the bytes behind the last instruction are none. */
  readonly isComplete: boolean;
}

export function controlFlowOf(code: Buffer): ControlFlow {
  const instructions = [...flowInstructionsOf(code)];
  const end = instructions.at(-1)?.next ?? 0;
  return { instructions, size: code.length, isComplete: end === code.length };
}

export interface DirectCall {
  /** Where the call returns to, from the start of the function. */
  readonly next: number;
  readonly target: number;
  /** A jump to another function, as the last act of this one: to return is up to that. */
  readonly isTail: boolean;
}

export function directCallsOf({ instructions, size }: ControlFlow): DirectCall[] {
  return instructions.flatMap(({ next, flow, target }) => {
    if (target === undefined) return [];
    const isTail = flow === 'jump' && (target < 0 || target >= size);
    return flow === 'call' || isTail ? [{ next, target, isTail }] : [];
  });
}

export interface After {
  readonly addresses: ReadonlySet<number>;
  /** Whether a path leads out of the function. */
  readonly returns: boolean;
}

/**
 * What may come: the addresses by which a stack shows the function once a path from one of `starts` was taken, or undefined: anything,
 * because a path comes to a jump that is not understood, or some code is not. They are return addresses of calls; and
 * of other instructions their own, where the runtime puts in a call of sigpanic when they fault.
 * `neverReturns`: return addresses of calls that do not come back.
 */
export function after(
  { instructions, size, isComplete }: ControlFlow,
  starts: Iterable<number>,
  neverReturns: ReadonlySet<number>,
): After | undefined {
  if (!isComplete) return undefined;
  const indexAt = new Map(instructions.map(({ at }, i) => [at, i]));
  const reached = new Uint8Array(instructions.length);
  const addresses = new Set<number>();
  let returns = false;
  const queue = [...starts];
  while (queue.length > 0) {
    const start = queue.pop()!;
    if (start < 0 || start >= size) {
      returns = true; // to return is up to the other function
      continue;
    }
    const index = indexAt.get(start);
    if (index === undefined) return undefined;
    for (let i = index; i < instructions.length && reached[i] === 0; i++) {
      reached[i] = 1;
      const { at, next, flow, target } = instructions[i]!;
      if (flow === 'anywhere') return undefined;
      if (flow === 'call') addresses.add(next);
      else if (target !== undefined) queue.push(target);
      if (instructions[i - 1]?.flow !== 'call') addresses.add(at);
      if (flow === 'return') returns = true;
      if (flow === 'jump' || flow === 'return' || flow === 'end' || neverReturns.has(next)) break;
    }
  }
  return { addresses, returns };
}
