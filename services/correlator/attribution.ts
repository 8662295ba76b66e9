// Verdicts: how a socket event came to its request, or why it has none. Never a guess.
import { FLAG, VIA } from '../../schemas/events.ts';

export type Verdict = 'exact' | 'lineage' | 'pooled' | 'thread' | 'none';
export type NoneReason = 'no_request' | 'map_full' | 'lost_event' | 'expired';

export interface Attribution {
  readonly verdict: Verdict;
  readonly reason: NoneReason | null;
  /** The kernel named a request, so the row does too, even if its facts are gone. */
  readonly hasRequest: boolean;
}

/** The kernel saw no causal chain to a request. */
export const NO_REQUEST: Attribution = { verdict: 'none', reason: 'no_request', hasRequest: false };
/** It may have seen one, but a map that should have held it was full. */
export const MAP_FULL: Attribution = { verdict: 'none', reason: 'map_full', hasRequest: false };
/** The request's start never arrived; it cannot arrive later (starts precede what they cause). */
export const LOST_EVENT: Attribution = { verdict: 'none', reason: 'lost_event', hasRequest: true };
/** The request ended longer ago than the join window, or more requests were open than are remembered. */
export const EXPIRED: Attribution = { verdict: 'none', reason: 'expired', hasRequest: true };

const LINEAGE: Attribution = { verdict: 'lineage', reason: null, hasRequest: true };
const BY_VIA: readonly (Attribution | undefined)[] = byVia({
  [VIA.direct]: { verdict: 'exact', reason: null, hasRequest: true },
  [VIA.lineage]: LINEAGE,
  [VIA.dial]: LINEAGE,
  [VIA.pooled]: { verdict: 'pooled', reason: null, hasRequest: true },
  [VIA.thread]: { verdict: 'thread', reason: null, hasRequest: true },
});

/** Of an event whose request is known; undefined when `via` names no causal chain. */
export function attributionOf(via: number): Attribution | undefined {
  return BY_VIA[via];
}

/** Of an event that came without a request. */
export function withoutRequest(flags: number): Attribution {
  return (flags & FLAG.mapFull) !== 0 ? MAP_FULL : NO_REQUEST;
}

function byVia(table: Readonly<Record<number, Attribution>>): (Attribution | undefined)[] {
  return Array.from({ length: 1 + Math.max(...Object.values(VIA)) }, (_, via) => table[via]);
}
