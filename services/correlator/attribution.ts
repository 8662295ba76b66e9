// Verdicts: how a socket event came to its request, or why it has none. Never a guess.
import { FLAG, VIA } from '../../schemas/events.ts';

export type Verdict = 'exact' | 'lineage' | 'pooled' | 'thread' | 'none';
export type NoneReason =
  | 'no_request'
  | 'predates_capture'
  | 'not_instrumented'
  | 'map_full'
  | 'lost_event'
  | 'expired'
  | 'request_ended'
  | 'channel';

export interface Attribution {
  readonly verdict: Verdict;
  /** Of none. Beside another verdict only `predates_capture`: who opened the connection was not seen. */
  readonly reason: NoneReason | null;
  /** The kernel named a request, so the row does too, even if its facts are gone. */
  readonly hasRequest: boolean;
}

/** The kernel saw no causal chain to a request. */
const NO_REQUEST: Attribution = { verdict: 'none', reason: 'no_request', hasRequest: false };
/** The same, of a connection that was open before capture looked: its request may have begun before, too. */
const PREDATES_CAPTURE: Attribution = { verdict: 'none', reason: 'predates_capture', hasRequest: false };
/** The process's probes were taken off again. */
const NOT_INSTRUMENTED: Attribution = { verdict: 'none', reason: 'not_instrumented', hasRequest: false };
/** The kernel may have seen a chain, but a map that should have held it was full. */
const MAP_FULL: Attribution = { verdict: 'none', reason: 'map_full', hasRequest: false };
/** The request's start never arrived; it cannot arrive later (starts precede what they cause). */
export const LOST_EVENT: Attribution = { verdict: 'none', reason: 'lost_event', hasRequest: true };
/** The request ended longer ago than the join window, or more requests were open than are remembered. */
export const EXPIRED: Attribution = { verdict: 'none', reason: 'expired', hasRequest: true };
/** A goroutine that the request started has outlived it, and may work for somebody else by now. */
export const REQUEST_ENDED: Attribution = { verdict: 'none', reason: 'request_ended', hasRequest: true };

/** A goroutine that the request started took something from a channel first: whose work it does was not seen. */
const CHANNEL: Attribution = { verdict: 'none', reason: 'channel', hasRequest: true };

const LINEAGE: Attribution = { verdict: 'lineage', reason: null, hasRequest: true };
const BY_VIA: readonly (Attribution | undefined)[] = byVia({
  [VIA.direct]: { verdict: 'exact', reason: null, hasRequest: true },
  [VIA.lineage]: LINEAGE,
  [VIA.dial]: LINEAGE,
  [VIA.pooled]: { verdict: 'pooled', reason: null, hasRequest: true },
  [VIA.thread]: { verdict: 'thread', reason: null, hasRequest: true },
  [VIA.channel]: LINEAGE,
});
const OLDER_BY_VIA = BY_VIA.map((known) => known && { ...known, reason: 'predates_capture' as const });

/** Of an event whose request is known; undefined when `via` names no causal chain. */
export function attributionOf(via: number, flags: number): Attribution | undefined {
  if ((flags & FLAG.fromChannel) !== 0 && BY_VIA[via] !== undefined) return CHANNEL;
  return (flags & FLAG.predatesCapture) !== 0 ? OLDER_BY_VIA[via] : BY_VIA[via];
}

/** Of an event that came without a request. */
export function withoutRequest(flags: number): Attribution {
  if ((flags & FLAG.predatesCapture) !== 0) return PREDATES_CAPTURE;
  if ((flags & FLAG.notInstrumented) !== 0) return NOT_INSTRUMENTED;
  return (flags & FLAG.mapFull) !== 0 ? MAP_FULL : NO_REQUEST;
}

function byVia(table: Readonly<Record<number, Attribution>>): (Attribution | undefined)[] {
  return Array.from({ length: 1 + Math.max(...Object.values(VIA)) }, (_, via) => table[via]);
}
