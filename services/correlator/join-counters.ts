// What the join counts, cumulative since it started (a rebuild is not counted).
import type { NoneReason } from './attribution.ts';

export interface JoinCounters {
  batchesIn: number;
  eventsIn: number;
  flowsOut: number;
  requestsOut: number;
  closes: number;
  /** Further uses of a connection by a request that has a flow for it already. */
  usesMerged: number;
  /** Responses of a request on its own inbound connection: no outbound use. */
  inboundUses: number;
  /** Connections of one request that were more than are remembered. */
  connectionsForgotten: number;
  readonly unattributed: Record<NoneReason, number>;
  /** Rows of a type this version does not know. */
  unknownRows: number;
  /** Requests that fell off because more were remembered than allowed, or with a silent host. */
  fallenOff: number;
  /** Of all that fell off: ended, but their row was never given out. */
  requestsUnreported: number;
  /** Ends without a known start: it was lost, or fell off. */
  endsUnknown: number;
  startsRepeated: number;
  /** Batches missing in a boot's sequence, without those that came late. */
  lostBatches: number;
  lateBatches: number;
  repeatedBatches: number;
  uncertainBatches: number;
  bootsDropped: number;
}

export function newCounters(): JoinCounters {
  return {
    batchesIn: 0,
    eventsIn: 0,
    flowsOut: 0,
    requestsOut: 0,
    closes: 0,
    usesMerged: 0,
    inboundUses: 0,
    connectionsForgotten: 0,
    unattributed: {
      no_request: 0,
      predates_capture: 0,
      not_instrumented: 0,
      map_full: 0,
      lost_event: 0,
      expired: 0,
      request_ended: 0,
      channel: 0,
    },
    unknownRows: 0,
    fallenOff: 0,
    requestsUnreported: 0,
    endsUnknown: 0,
    startsRepeated: 0,
    lostBatches: 0,
    lateBatches: 0,
    repeatedBatches: 0,
    uncertainBatches: 0,
    bootsDropped: 0,
  };
}
