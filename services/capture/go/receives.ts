// Whether a goroutine may be a worker that takes its work from a channel. A goroutine works for the request that started
// it, but not if it is a worker which that request happened to start, and which goes on for others: the code of workers
// goes round and round between receiving and the call. What receives once, receives for the request. Decided by the
// control flow of the machine code, in which other functions may be inlined. Calls through interfaces and closures are
// not followed, nor are those of the standard library.
import { CallTargets, type Program } from './call-targets.ts';
import { addressesAfter, directCallsOf } from './control-flow.ts';
import { Memo } from './memo.ts';
import type { CompiledFunction } from './symbolizer.ts';

export class Receives {
  private readonly program: Program;
  private readonly targets: CallTargets;
  private readonly answers = new Memo<boolean>();
  private notUnderstood = 0;

  constructor(program: Program, mainModule: string) {
    this.program = program;
    this.targets = new CallTargets(program, mainModule);
  }

  /** How often the answer is true because code is damaged, too much, or jumps in a way that is not understood. */
  get unclear(): number {
    return this.notUnderstood + this.targets.unclear;
  }

  /**
   * `stack`: return addresses of one goroutine, from the start of the executable segment. When the code cannot be
   * read or understood the answer is true: an attribution that may be wrong is given up.
   */
  before(stack: Iterable<number>): boolean {
    try {
      for (const offset of stack) if (this.receivesBefore(offset)) return true;
      return false;
    } catch {
      this.notUnderstood++;
      return true;
    }
  }

  private receivesBefore(offset: number): boolean {
    // The call may be the last instruction of its function.
    const fn = this.program.functionAt(offset - 1);
    if (fn === undefined || !this.targets.isExamined(fn.name)) return false;
    return this.answers.get(offset, () => this.isRoundOfReceiving(fn, offset - fn.start));
  }

  /** Whether a path leads from the call that returns to `call` to a receive, and from there to the call again. */
  private isRoundOfReceiving(fn: CompiledFunction, call: number): boolean {
    const flow = this.targets.flowOf(fn);
    if (flow === undefined) return true;
    const receives: number[] = [];
    const neverReturns = new Set<number>();
    for (const { next, target, isTail } of directCallsOf(flow)) {
      if (isTail) continue;
      const kind = this.targets.kindOf(fn.start + target);
      if (kind === 'receives') receives.push(next);
      else if (kind === 'never returns') neverReturns.add(next);
    }
    if (receives.length === 0) return false;
    const later = addressesAfter(flow, [call], neverReturns);
    const again =
      later &&
      addressesAfter(
        flow,
        receives.filter((receive) => later.has(receive)),
        neverReturns,
      );
    if (again !== undefined) return again.has(call);
    this.notUnderstood++;
    return true;
  }
}
