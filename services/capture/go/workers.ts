// Whether a goroutine may be a worker. A goroutine works for the request that started it, but not if it is a worker which
// that request happened to start, and which goes on for others: the code of workers goes round and round, by way of a
// channel or otherwise, and comes to the call again. What receives once, receives for the request. Decided by the control
// flow of the machine code, in which other functions may be inlined. Whether a call through an interface or a closure
// receives is known only of the one that is on the stack, and calls of the standard library are not followed.
import { CallTargets, type Program } from './call-targets.ts';
import { after, directCallsOf } from './control-flow.ts';
import { Memo } from './memo.ts';
import type { CompiledFunction } from './symbolizer.ts';

export interface Doubt {
  /** A path leads from the call to a receive and to the call again, or no path leads out of the function. */
  readonly fromChannel: boolean;
  /** A path leads from the call to the call again. */
  readonly inLoop: boolean;
}

export class Workers {
  private readonly program: Program;
  private readonly targets: CallTargets;
  private readonly answers = [new Memo<Doubt>(), new Memo<Doubt>()];
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
      let called = -1;
      const doubts = Array.from(stack, (offset) => {
        const fn = this.program.functionAt(offset - 1); // the call may be the last instruction of its function
        const doubt = fn === undefined ? NO_DOUBT : this.doubtOf(fn, offset, called);
        called = fn?.start ?? -1;
        return doubt;
      });
      return {
        fromChannel: doubts.some(({ fromChannel }) => fromChannel),
        inLoop: doubts.some(({ inLoop }) => inLoop),
      };
    } catch {
      this.notUnderstood++;
      return ALL_DOUBT;
    }
  }

  /** `called`: the function that this one calls here, as the stack shows. */
  private doubtOf(fn: CompiledFunction, offset: number, called: number): Doubt {
    if (STANDARD_WORKERS.has(fn.name)) return ALL_DOUBT;
    if (!this.targets.isExamined(fn.name)) return NO_DOUBT;
    const receives = called >= 0 && this.targets.kindOf(called) === 'receives';
    return this.answers[receives ? 1 : 0]!.get(offset, () => this.examine(fn, offset - fn.start, receives));
  }

  /** `call`: where the call returns to, from the start of its function; `callReceives`: what is called there does. */
  private examine(fn: CompiledFunction, call: number, callReceives: boolean): Doubt {
    const flow = this.targets.flowOf(fn);
    if (flow === undefined) return ALL_DOUBT;
    const receives: number[] = callReceives ? [call] : [];
    const neverReturns = new Set<number>();
    for (const { next, target, isTail } of directCallsOf(flow)) {
      if (isTail) continue;
      const kind = this.targets.kindOf(fn.start + target);
      if (kind === 'receives') receives.push(next);
      else if (kind === 'never returns') neverReturns.add(next);
    }
    const later = after(flow, [call], neverReturns);
    const again =
      later &&
      after(
        flow,
        receives.filter((receive) => later.addresses.has(receive)),
        neverReturns,
      );
    if (again !== undefined)
      return {
        fromChannel: again.addresses.has(call) || !later!.returns,
        inLoop: later!.addresses.has(call),
      };
    this.notUnderstood++;
    return { fromChannel: receives.length > 0, inLoop: true };
  }
}

/** They are started by whoever opens the database first, and dial for everybody. */
const STANDARD_WORKERS = new Set([
  'database/sql.(*DB).connectionOpener',
  'database/sql.(*DB).connectionCleaner',
]);
const NO_DOUBT: Doubt = { fromChannel: false, inLoop: false };
export const ALL_DOUBT: Doubt = { fromChannel: true, inLoop: true };
