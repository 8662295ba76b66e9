// What the direct calls of application code lead to, as far as it matters for the question whether the code receives.
import { type ControlFlow, controlFlowOf, directCallsOf } from './control-flow.ts';
import { isApplication, packagePath } from './frame.ts';
import { Memo } from './memo.ts';
import type { CompiledFunction, Symbolizer } from './symbolizer.ts';

/** What gives names and code; offsets count from the start of the executable segment. */
export type Program = Pick<Symbolizer, 'functionAt' | 'code'>;

/** `receives`: also an application function from which direct calls lead to a receive. */
export type CallKind = 'receives' | 'never returns' | 'other';

export class CallTargets {
  /** Functions taken for ones that receive, because they are too large or call too many others. */
  unclear = 0;
  private readonly program: Program;
  private readonly mainModule: string;
  private readonly names = new Memo<Named>();
  private readonly reaching = new Memo<boolean>();
  private readonly summaries = new Memo<Summary>();

  constructor(program: Program, mainModule: string) {
    this.program = program;
    this.mainModule = mainModule;
  }

  kindOf(target: number): CallKind {
    const named = this.named(target);
    if (named !== 'application') return named;
    return this.reaching.get(target, () => this.reachesReceive(target)) ? 'receives' : 'other';
  }

  /** Whether it is code in which to look for receives. */
  isExamined(functionName: string): boolean {
    return isApplication(functionName, this.mainModule) && !NO_WORKERS.has(packagePath(functionName));
  }

  /** Undefined: too large. */
  flowOf(fn: CompiledFunction): ControlFlow | undefined {
    if (fn.size <= MAX_FUNCTION_BYTES) return controlFlowOf(this.program.code(fn));
    this.unclear++;
    return undefined;
  }

  private named(target: number): Named {
    return this.names.get(target, () => {
      const name = this.program.functionAt(target)?.name ?? '';
      if (RECEIVE.has(name)) return 'receives';
      if (NEVER_RETURNS.test(name)) return 'never returns';
      return this.isExamined(name) ? 'application' : 'other';
    });
  }

  private reachesReceive(start: number): boolean {
    const searched = new Set([start]);
    let level = [start];
    for (let depth = 1; depth <= MAX_DEPTH && level.length > 0; depth++) {
      const summaries = level.map((at) => this.summaries.get(at, () => this.summarise(at)));
      if (summaries.some(({ receives }) => receives)) return true;
      level = [...new Set(summaries.flatMap(({ callees }) => callees))].filter((at) => !searched.has(at));
      for (const at of level) searched.add(at);
      if (searched.size > MAX_SEARCHED) {
        this.unclear++;
        return true;
      }
    }
    return false;
  }

  private summarise(start: number): Summary {
    const fn = this.program.functionAt(start);
    const flow = fn && this.flowOf(fn);
    if (flow === undefined) return { receives: true, callees: [] };
    const targets = directCallsOf(flow).map(({ target }) => start + target);
    return {
      receives: targets.some((target) => this.named(target) === 'receives'),
      callees: targets.filter((target) => this.named(target) === 'application'),
    };
  }
}

/** What the name alone tells. */
type Named = CallKind | 'application';

interface Summary {
  readonly receives: boolean;
  /** Application functions that it calls. */
  readonly callees: readonly number[];
}

/**
 * Of the Go project, and not part of the standard library: what they receive is answers and permits, never work. The
 * first is the same code as net/http's HTTP/2, which starts a goroutine for each request too.
 */
const NO_WORKERS = new Set([
  'golang.org/x/net/http2',
  'golang.org/x/sync/errgroup',
  'golang.org/x/sync/semaphore',
  'golang.org/x/sync/singleflight',
  'golang.org/x/time/rate',
]);

/** How many functions deep the receive may be: 1 is in the one that is called. */
const MAX_DEPTH = 4;
/** Seen in caddy: 57. */
const MAX_SEARCHED = 256;
const MAX_FUNCTION_BYTES = 256 << 10; // seen in caddy: 60 kB

/**
 * Also what functions of package sync and reflect call to receive: they may be inlined. A select that only sends
 * counts too: which of its cases receive is data, not code.
 */
const RECEIVE = new Set([
  'runtime.chanrecv1',
  'runtime.chanrecv2',
  'runtime.selectgo',
  'runtime.selectnbrecv',
  'sync.(*Cond).Wait',
  'sync.runtime_notifyListWait',
  'reflect.Select',
  'reflect.select0', // since Go 1.27
  'reflect.rselect',
  'reflect.Value.Recv',
  'reflect.Value.TryRecv',
  'reflect.Value.recv',
  'reflect.chanrecv',
]);
/**
 * The compiler lets any code follow these, and does not mean it (cmd/compile/internal/ssagen, BlockExit). What grows
 * the stack goes back to the function's entry, but only a branch before the first statement leads there.
 */
const NEVER_RETURNS = /^runtime\.(panic\w*|go[pP]anic\w*|throw\w*|fatal\w*|block|morestack\w*)$/;
