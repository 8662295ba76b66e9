// Whether a goroutine may be a worker. A goroutine works for the request that started it, but not if it is a worker which
// that request happened to start, and which goes on for others: the code of workers goes round and round, by way of a
// channel or otherwise, and comes to the call again. What receives once, receives for the request. Decided by the control
// flow of the machine code, in which other functions may be inlined. That a call through an interface or a closure
// receives cannot be told, nor are calls of the standard library followed.
import { CallTargets, type Program } from './call-targets.ts';
import { addressesAfter, directCallsOf } from './control-flow.ts';
import { Memo } from './memo.ts';
import type { CompiledFunction } from './symbolizer.ts';

export interface Doubt {
  /** A path leads from the call to a receive, and from there to the call again. */
  readonly fromChannel: boolean;
  /** A path leads from the call to the call again. */
  readonly inLoop: boolean;
}

export class Workers {
  private readonly program: Program;
  private readonly targets: CallTargets;
  private readonly answers = new Memo<Doubt>();
  private notUnderstood = 0;

  constructor(program: Program, mainModule: string) {
    this.program = program;
    this.targets = new CallTargets(program, mainModule);
  }

  /** How often all is doubted because code is damaged, too much, or jumps in a way that is not understood. */
  get unclear(): number {
    return this.notUnderstood + this.targets.unclear;
  }

  /**
   * `stack`: return addresses of one goroutine, from the start of the executable segment. What cannot be read or
   * understood is doubted: an attribution that may be wrong is given up.
   */
  doubt(stack: Iterable<number>): Doubt {
    try {
      const doubts = Array.from(stack, (offset) => this.doubtOf(offset));
      return {
        fromChannel: doubts.some(({ fromChannel }) => fromChannel),
        inLoop: doubts.some(({ inLoop }) => inLoop),
      };
    } catch {
      this.notUnderstood++;
      return ALL_DOUBT;
    }
  }

  private doubtOf(offset: number): Doubt {
    // The call may be the last instruction of its function.
    const fn = this.program.functionAt(offset - 1);
    if (fn === undefined || !this.targets.isExamined(fn.name)) return NO_DOUBT;
    return this.answers.get(offset, () => this.examine(fn, offset - fn.start));
  }

  /** `call`: where the call returns to, from the start of its function. */
  private examine(fn: CompiledFunction, call: number): Doubt {
    const flow = this.targets.flowOf(fn);
    if (flow === undefined) return ALL_DOUBT;
    const receives: number[] = [];
    const neverReturns = new Set<number>();
    for (const { next, target, isTail } of directCallsOf(flow)) {
      if (isTail) continue;
      const kind = this.targets.kindOf(fn.start + target);
      if (kind === 'receives') receives.push(next);
      else if (kind === 'never returns') neverReturns.add(next);
    }
    const later = addressesAfter(flow, [call], neverReturns);
    const again =
      later &&
      addressesAfter(
        flow,
        receives.filter((receive) => later.has(receive)),
        neverReturns,
      );
    if (again !== undefined) return { fromChannel: again.has(call), inLoop: later!.has(call) };
    this.notUnderstood++;
    return { fromChannel: receives.length > 0, inLoop: true };
  }
}

const NO_DOUBT: Doubt = { fromChannel: false, inLoop: false };
export const ALL_DOUBT: Doubt = { fromChannel: true, inLoop: true };
