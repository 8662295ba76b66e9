// Which instructions of a net/http server carry the probes, in the order of attaching, and what cannot be probed.
import { GoBinaryError } from './go-binary-error.ts';
import { branchesTo, type GoFunction, type GoFunctions, stackCheckBranch } from './program.ts';

export type Hook = 'goroutine_start' | 'goroutine_exit' | 'request_end' | 'request_start';

export interface ProbeSite {
  readonly hook: Hook;
  /** Of the instruction, in the file: what uprobes take, whatever address the program is loaded at. */
  readonly fileOffset: bigint;
  readonly functionName: string;
  /** On the stack check's `jbe`: skip the hit when the flags CF or ZF say that the branch is about to be taken. */
  readonly guarded: boolean;
}

export interface NotAttachable {
  readonly hook: Hook;
  readonly functionName: string;
  readonly reason: string;
}

export interface ProbePlan {
  /** `request_start` last: no request is tracked before everything that follows it is in place. */
  readonly sites: readonly ProbeSite[];
  readonly notAttachable: readonly NotAttachable[];
}

export const SERVE_CONNECTION = 'net/http.(*conn).serve';
const SERVE_HTTP = 'net/http.serverHandler.ServeHTTP';
const FINISH_REQUEST = 'net/http.(*response).finishRequest';
const NEW_GOROUTINE = 'runtime.newproc.func1';
const QUEUE_GOROUTINE = 'runtime.runqput';
const EXIT_GOROUTINE = 'runtime.goexit1';
/** Every goroutine returns into it; it reaches goexit1 through the wrapper of the same name. */
const GOROUTINE_END = 'runtime.goexit';

export const PROBED_FUNCTIONS = [
  SERVE_CONNECTION,
  SERVE_HTTP,
  FINISH_REQUEST,
  NEW_GOROUTINE,
  QUEUE_GOROUTINE,
  EXIT_GOROUTINE,
  GOROUTINE_END,
] as const;

/** Throws when a hook is missing without which nothing can be attributed. */
export function planProbes(functions: GoFunctions): ProbePlan {
  const plans: readonly (ProbeSite[] | NotAttachable)[] = [
    onCall(functions, 'goroutine_start', NEW_GOROUTINE, QUEUE_GOROUTINE),
    onStackCheck(functions, 'goroutine_exit', EXIT_GOROUTINE, [GOROUTINE_END, EXIT_GOROUTINE]),
    onStackCheck(functions, 'request_end', FINISH_REQUEST, [SERVE_CONNECTION]),
    onStackCheck(functions, 'request_start', SERVE_HTTP, [SERVE_CONNECTION]),
  ];
  const sites: ProbeSite[] = [];
  const notAttachable: NotAttachable[] = [];
  for (const plan of plans)
    if (Array.isArray(plan)) sites.push(...plan);
    else if (REQUIRED.has(plan.hook)) throw requiredIsMissing(plan);
    else notAttachable.push(plan);
  return { sites, notAttachable };
}

const REQUIRED: ReadonlySet<Hook> = new Set(['request_start', 'goroutine_start']);

/** On the calls themselves: the new goroutine is in a register there, and the kernel emulates a call. */
function onCall(functions: GoFunctions, hook: Hook, callerName: string, calleeName: string) {
  const sites: ProbeSite[] = [];
  for (const caller of functions.get(callerName) ?? [])
    for (const callee of functions.get(calleeName) ?? [])
      for (const at of branchesTo(caller, callee))
        sites.push({
          hook,
          fileOffset: BigInt(caller.fileOffset + at),
          functionName: callerName,
          guarded: false,
        });
  if (sites.length > 0) return sites;
  return { hook, functionName: callerName, reason: `has no call of ${calleeName}${INLINED}` };
}

/**
 * On the stack check of `name`, if one of `callerNames` still branches to it. Profile-guided builds inline hot
 * functions: the function is there as before, for other callers, and a probe on it would see nothing.
 */
function onStackCheck(functions: GoFunctions, hook: Hook, name: string, callerNames: readonly string[]) {
  const callers = callerNames.flatMap((caller) => functions.get(caller) ?? []);
  let reason = 'is not in the executable';
  for (const fn of functions.get(name) ?? []) {
    const at = stackCheckBranch(fn);
    // Wrappers for assembly callers have the same name and no such check.
    if (at === undefined) reason = 'does not begin with the stack check of Go functions';
    else if (!isReached(fn, callers)) reason = `is not called by ${callerNames[0]}${INLINED}`;
    else return [{ hook, fileOffset: BigInt(fn.fileOffset + at), functionName: name, guarded: true }];
  }
  return { hook, functionName: name, reason };
}

const INLINED = ' (inlined there, as profile-guided builds do)';

function isReached(fn: GoFunction, callers: readonly GoFunction[]): boolean {
  return callers.some((caller) => caller !== fn && branchesTo(caller, fn).length > 0);
}

function requiredIsMissing({ hook, functionName, reason }: NotAttachable): GoBinaryError {
  const cure = reason.endsWith(INLINED) ? 'build with -pgo=off' : 'please report how it was built';
  return new GoBinaryError('not_attachable', `${hook} cannot be probed: ${functionName} ${reason}; ${cure}`);
}
