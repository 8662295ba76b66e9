// Which line of the program made a call: the innermost that its authors (or those of a module) wrote, on the
// goroutine's own stack, else on that of the goroutine that started it, and so on.
import { beginsRequest, callsHandlers, type Frame, isApplication, isWrapper, packagePath } from './frame.ts';

export interface Caller {
  /** '' when no function qualifies. */
  readonly function: string;
  readonly file: string;
  readonly line: number;
  /** The function that net/http called for the request; '' when the stack does not reach it. */
  readonly handler: string;
}

/** `chain`: own frames innermost first, then those of the goroutine that started this one, and so on. */
export function callerOf(chain: readonly (readonly Frame[])[], mainModule = ''): Caller {
  const stacks = untilRequestBegins(chain);
  const frames = stacks.flat();
  const application = frames.filter((frame) => isApplication(frame.function, mainModule));
  const innermost = application.find((frame) => !isWrapper(frame)) ?? application[0];
  const handler = handlerIn(stacks, innermost);
  // The standard library has handlers too: a reverse proxy may be the whole program.
  const caller = innermost ?? handler ?? { function: '', file: '', line: 0 };
  return {
    function: caller.function,
    file: caller.file,
    line: caller.line,
    handler: handler?.function ?? '',
  };
}

/** Beyond where the request begins is the server's start, which called nothing for this request. */
function untilRequestBegins(chain: readonly (readonly Frame[])[]): readonly (readonly Frame[])[] {
  const last = chain.findIndex((frames) => frames.some(beginsRequest));
  return last < 0 ? chain : chain.slice(0, last + 1);
}

/** Outward from `innermost`: handlers are nested, and the first that net/http calls is the one the route names. */
function handlerIn(stacks: readonly (readonly Frame[])[], innermost: Frame | undefined): Frame | undefined {
  let passed = innermost === undefined;
  for (const stack of stacks) {
    const real = stack.filter((frame) => frame === innermost || !isWrapper(frame));
    for (const [i, frame] of real.entries()) {
      passed ||= frame === innermost;
      if (!passed || packagePath(frame.function) === 'net/http' || beginsRequest(frame)) continue;
      const caller = real[i + 1];
      if (caller !== undefined && callsHandlers(caller)) return frame;
      if (frame.function.endsWith('.ServeHTTP')) return frame;
    }
  }
  return undefined;
}
