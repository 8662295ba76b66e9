// Which instructions of a net/http server carry the probes, in the order of attaching, and what cannot be probed.
// Profile-guided builds inline hot functions: the function stays for other callers, and a probe on it would see
// nothing. So each hook says by which calls its function is reached, and some have a second place that tells the same.
import { GoBinaryError } from './go-binary-error.ts';
import {
  atCallOf,
  atCreation,
  atReturnsOf,
  atReturnTo,
  atStackCheckOf,
  atStackCheckOfDeferred,
  INLINED,
  isMissing,
  type Missing,
  type Place,
  type PlaceSearch,
} from './probe-places.ts';
import type { GoFunctions } from './program.ts';

export type Hook =
  | 'goroutine_start'
  | 'goroutine_created'
  | 'request_end'
  | 'response_close'
  | 'serve_end'
  | 'round_trip'
  | 'request_write'
  | 'dial_queued'
  | 'dial'
  | 'request_start'
  | 'request_read';

export interface ProbeSite extends Place {
  readonly hook: Hook;
}

export interface NotAttachable {
  readonly hook: Hook;
  readonly functionName: string;
  readonly reason: string;
}

/** A hook whose facts come from another place: nothing is missing. */
export interface Fallback {
  readonly hook: Hook;
  readonly by: Hook;
  readonly reason: string;
}

export interface ProbePlan {
  /** The start of requests last: none is tracked before everything that follows it is in place. */
  readonly sites: readonly ProbeSite[];
  readonly notAttachable: readonly NotAttachable[];
  readonly fallbacks: readonly Fallback[];
}

/** In words, what of a program is not seen, or seen at another place than usual. */
export function notesOn({
  notAttachable,
  fallbacks,
}: Pick<ProbePlan, 'notAttachable' | 'fallbacks'>): string[] {
  return [
    ...notAttachable.map(({ hook, functionName, reason }) => `no ${hook}: ${functionName} ${reason}`),
    ...fallbacks.map(({ hook, reason }) => `${hook} ${reason}`),
  ];
}

/**
 * `goidOffset`: of the id in the runtime's g. Throws when a hook is missing without which nothing can be attributed.
 */
export function planProbes(functions: GoFunctions, goidOffset: number): ProbePlan {
  const sites: ProbeSite[] = [];
  const notAttachable: NotAttachable[] = [];
  const fallbacks: Fallback[] = [];
  for (const { hook, ways, need, loss } of STEPS) {
    const results = ways.map(([by, search]) => ({ by, search, found: search.run(functions, goidOffset) }));
    const usual = results[0]!.found;
    const used = results.find(({ found }) => !isMissing(found));
    if (used !== undefined) {
      // HTTP/2 comes to a function that may carry the probe for HTTP/1 already.
      const taken = new Set(sites.map(({ fileOffset }) => fileOffset));
      for (const place of used.found as readonly Place[])
        if (!taken.has(place.fileOffset)) sites.push({ hook: used.by, ...place });
      if (isMissing(usual))
        fallbacks.push({
          hook,
          by: used.by,
          reason: `${used.search.where}, because ${usual.functionName} ${usual.reason}`,
        });
    } else if (isMissing(usual) && !(need === 'where present' && usual.isAbsent)) {
      if (need === 'always') throw requiredIsMissing(hook, usual);
      const { functionName, reason } = usual;
      notAttachable.push({ hook, functionName, reason: loss ? `${reason}: ${loss}` : reason });
    }
  }
  return { sites, notAttachable, fallbacks };
}

export const SERVE_CONNECTION = 'net/http.(*conn).serve';
const SERVE_HTTP = 'net/http.serverHandler.ServeHTTP';
const READ_REQUEST = 'net/http.(*conn).readRequest';
const FINISH_REQUEST = 'net/http.(*response).finishRequest';
const CLOSE_RESPONSE = 'net/http.(*chunkWriter).close';
const NEW_GOROUTINE = 'runtime.newproc.func1';
const CREATE_GOROUTINE = 'runtime.newproc1';
/** How HTTP/2 requests come to ServeHTTP: an interface calls the wrapper. */
const HTTP2_PATH = ['net/http.(*initALPNRequest).ServeHTTP', 'net/http.initALPNRequest.ServeHTTP'];

/**
 * What runs an HTTP/2 request's goroutine: bundled in net/http until Go 1.26, in a package of its own since, or brought
 * along by the program. Whichever deferred function is the first, it runs after the handler.
 */
const HTTP2_HANDLERS = [
  'net/http.(*http2serverConn).runHandler',
  'net/http/internal/http2.(*serverConn).runHandler',
  'golang.org/x/net/http2.(*serverConn).runHandler',
];

interface Step {
  readonly hook: Hook;
  /** In order of preference: they tell the same, the later ones at a higher cost or by a detour. */
  readonly ways: readonly (readonly [Hook, PlaceSearch])[];
  /** `where present`: a program that makes no such requests does not contain the function. */
  readonly need?: 'always' | 'where present';
  /** Said when the name of the hook does not. */
  readonly loss?: string;
}

const STEPS: readonly Step[] = [
  {
    hook: 'goroutine_start',
    need: 'always',
    ways: [
      ['goroutine_start', atCallOf('runtime.runqput', NEW_GOROUTINE)],
      ['goroutine_created', atReturnTo(NEW_GOROUTINE, CREATE_GOROUTINE)],
      ['goroutine_created', atCreation('runtime.casgstatus', CREATE_GOROUTINE, NEW_GOROUTINE)],
      ['goroutine_created', atReturnsOf(CREATE_GOROUTINE, [NEW_GOROUTINE])],
    ],
  },
  {
    hook: 'request_end',
    ways: [
      ['request_end', atStackCheckOf(FINISH_REQUEST, [SERVE_CONNECTION], CLOSE_RESPONSE)],
      ['response_close', atStackCheckOf(CLOSE_RESPONSE, [SERVE_CONNECTION, FINISH_REQUEST])],
    ],
  },
  ...[SERVE_CONNECTION, ...HTTP2_HANDLERS].map((name) => {
    const step = one('serve_end', atStackCheckOfDeferred(`${name}.func1`, name));
    return { ...step, need: 'where present' as const, loss: 'requests that end there seem to go on' };
  }),
  client('round_trip', 'net/http.(*persistConn).roundTrip'),
  client('request_write', 'net/http.(*Request).write'),
  client('dial_queued', 'net/http.(*Transport).queueForDial'),
  client('dial', 'net/http.(*Transport).dialConnFor'),
  {
    hook: 'request_start',
    need: 'always',
    ways: [
      ['request_start', atStackCheckOf(SERVE_HTTP, [SERVE_CONNECTION])],
      ['request_read', atReturnTo(SERVE_CONNECTION, READ_REQUEST)],
      ['request_read', atReturnsOf(READ_REQUEST, [SERVE_CONNECTION])],
    ],
  },
  {
    ...one('request_start', atStackCheckOf(SERVE_HTTP, HTTP2_PATH)),
    need: 'where present',
    loss: 'HTTP/2 requests are not seen',
  },
];

export const PROBED_FUNCTIONS: readonly string[] = [
  ...new Set(STEPS.flatMap(({ ways }) => ways.flatMap(([, { functionNames }]) => functionNames))),
];

function one(hook: Hook, search: PlaceSearch): Step {
  return { hook, ways: [[hook, search]] };
}

/** No caller is named: these defer, and the compiler does not inline what defers. */
function client(hook: Hook, functionName: string): Step {
  return { ...one(hook, atStackCheckOf(functionName, [])), need: 'where present' };
}

function requiredIsMissing(hook: Hook, { functionName, reason }: Missing): GoBinaryError {
  const cure = reason.endsWith(INLINED) ? 'build with -pgo=off' : 'please report how it was built';
  return new GoBinaryError('not_attachable', `${hook} cannot be probed: ${functionName} ${reason}; ${cure}`);
}
