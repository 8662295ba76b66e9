import { describe, expect, it } from 'vitest';
import { after, controlFlowOf, directCallsOf } from '../../../services/capture/go/control-flow.ts';

const CALL = 'e800000000';
/** Return address of the first call below. */
const AFTER = 5;

/** Return addresses of the calls that may come after the first. */
function laterCalls(hex: string, neverReturns: number[] = []): number[] | undefined {
  const flow = controlFlowOf(bytes(hex));
  const addresses = after(flow, [AFTER], new Set(neverReturns))?.addresses;
  if (addresses === undefined) return undefined;
  return flow.instructions.filter((i) => i.flow === 'call' && addresses.has(i.next)).map(({ next }) => next);
}

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

describe('the calls that may come after one', () => {
  it.each([
    ['straight on, direct and indirect', `${CALL} ${CALL} ffd0 ff5008 c3`, [10, 12, 15]],
    ['none behind a return', `${CALL} c3 ${CALL} c3`, []],
    ['none behind repz ret', `${CALL} f3c3 ${CALL} c3`, []],
    ['none behind ret $8', `${CALL} c20800 ${CALL} c3`, []],
    ['none behind ud2', `${CALL} 0f0b ${CALL} c3`, []],
    ['none behind int3', `${CALL} cc ${CALL} c3`, []],
    ['a loop by jmp rel8', `${CALL} ebf9`, [5]],
    ['a loop by jmp rel32', `${CALL} e9f6ffffff`, [5]],
    ['a loop by jne rel8', `${CALL} 75f9 c3`, [5]],
    ['a loop by jne rel32', `${CALL} 0f85f5ffffff c3`, [5]],
    ['a loop by loop', `${CALL} e2f9 c3`, [5]],
    ['both ways of a branch', `${CALL} 7406 ${CALL} c3 ${CALL} c3`, [12, 18]],
    ['not what is jumped over', `${CALL} eb05 ${CALL} ${CALL} c3`, [17]],
    ['not what another function does', `${CALL} e900010000 ${CALL} c3`, []],
  ])('%s', (_, hex, expected) => {
    expect(laterCalls(hex)).toEqual(expected);
  });

  it('are none behind a call that never returns', () => {
    expect(laterCalls(`${CALL} ${CALL} ${CALL} c3`, [10])).toEqual([10]);
  });

  it.each([
    ['behind a jump through a register', `${CALL} ffe0 ${CALL} c3`],
    ['behind a jump through a table', `${CALL} 41ff24c4 ${CALL} c3`],
    ['behind notrack jmp', `${CALL} 3effe0 ${CALL} c3`],
    ['behind a branch into an instruction', `${CALL} 7401 ${CALL} c3`],
    ['in code that is none', `${CALL} c3 06`],
  ])('may be any %s', (_, hex) => {
    expect(laterCalls(hex)).toBeUndefined();
  });
});

it('an instruction that faults is shown by its own address', () => {
  const [nop, load] = ['90', '8b00'];
  const addresses = after(
    controlFlowOf(bytes(`${load} ${CALL} ${nop} ${load} c3`)),
    [7],
    new Set(),
  )?.addresses;
  expect([0, 7, 8].map((at) => addresses!.has(at))).toEqual([false, false, true]);
});

it('sees direct calls, and those that are jumps out of the function', () => {
  expect(directCallsOf(controlFlowOf(bytes('e810000000 ffd0 eb00 e900010000 c3')))).toEqual([
    { next: 5, target: 21, isTail: false },
    { next: 14, target: 270, isTail: true },
  ]);
});

it.each([
  ['by ret', `${CALL} c3`, true],
  ['by a branch around the loop', `${CALL} 7402 ebf7 c3`, true],
  ['by a jump to another function', `${CALL} e900010000`, true],
  ['not from a loop without an exit', `${CALL} ebf9 c3`, false],
  ['not by what follows a call that never returns', `${CALL} ${CALL} c3`, false],
])('a function is left %s', (_, hex, returns) => {
  expect(after(controlFlowOf(bytes(hex)), [AFTER], new Set([10]))!.returns).toBe(returns);
});
