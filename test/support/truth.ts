// What the two ends of a connection logged, as look-ups: who used it, and who caused it to be opened. Pure.
import type { DialRecord, DownstreamRequest } from './targets.ts';

/** What is known about a use beside its request, each as one text to compare; '' where nobody says it. */
export interface Details {
  /** `function file:line` of the application's call. */
  readonly caller: string;
  readonly handler: string;
  /** `trace id-span id`. */
  readonly trace: string;
}

interface Use {
  readonly timeMs: number;
  readonly details: Details;
}

export interface Span {
  readonly beganMs: number;
  readonly endMs: number;
}

export interface Dial extends Span {
  readonly details: Details;
}

/** An attempt is logged before its connect begins: this is for a processor that is busy with others. */
const ATTEMPT_MS = 5_000;

/** Keyed by end and path (`keyOf`): a path belongs to one request, a port to one connection at a time. */
export interface Truth {
  /** By the caller's end: one item for each request on a connection, with all calls that it made there. */
  readonly uses: ReadonlyMap<string, readonly Use[]>;
  /** By path alone, for a connect that reached nobody. */
  readonly details: ReadonlyMap<string, readonly Details[]>;
  /** By the caller's end: connects that succeeded, and those that the peer refused. A request may get a port twice. */
  readonly dials: ReadonlyMap<string, readonly Dial[]>;
  /** By the caller's end: connects that may have been given up, before or after the kernel began with them. */
  readonly attempts: ReadonlyMap<string, Span>;
}

export function truthOf(requests: readonly DownstreamRequest[], dialLog: readonly DialRecord[] = []): Truth {
  const uses = new Map<string, Use[]>();
  const details = new Map<string, Details[]>();
  for (const request of requests) {
    const path = pathOf(request.requestPath);
    if (path === '') continue;
    const said = detailsOf(request);
    push(uses, keyOf(request.peer, path), { timeMs: Date.parse(request.time), details: said });
    push(details, path, said);
  }
  const dials = new Map<string, Dial[]>();
  const attempts = new Map<string, Span>();
  const attempted = new Map<string, { key: string; span: Span }[]>(); // by peer and path
  for (const record of dialLog) {
    const { kind, began, time, local, peer, error } = record;
    const path = pathOf(record.requestPath);
    if (path === '') continue;
    const key = keyOf(local, path);
    const span = { beganMs: Date.parse(began), endMs: Date.parse(time) };
    const said = detailsOf(record);
    if (kind === 'attempt') {
      const open = { ...span, endMs: span.endMs + ATTEMPT_MS };
      attempts.set(key, open);
      push(attempted, keyOf(peer, path), { key, span: open });
      push(details, path, said);
    } else if (local !== '') push(dials, key, { ...span, details: said });
    else if (error.includes('connection refused'))
      for (const { key, span } of attempted.get(keyOf(peer, path)) ?? [])
        push(dials, key, { ...span, details: said });
  }
  return { uses, details, dials, attempts };
}

export function keyOf(end: string, path: string): string {
  return `${end} ${path}`;
}

export function pathOf(requestPath: string): string {
  return requestPath.split('?', 1)[0]!;
}

function detailsOf(record: DownstreamRequest | DialRecord): Details {
  const { callerFunction, callerFile, callerLine, handlerFunction, traceparent = '' } = record;
  const [, traceId, spanId] = traceparent.split('-');
  return {
    caller: callerFunction ? `${callerFunction} ${callerFile}:${callerLine}` : '',
    handler: handlerFunction ?? '',
    trace: traceId ? `${traceId}-${spanId}` : '',
  };
}

function push<T>(map: Map<string, T[]>, key: string, item: T): void {
  const items = map.get(key);
  if (items) items.push(item);
  else map.set(key, [item]);
}
