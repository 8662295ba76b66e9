// What a partition counts, under the names of its heartbeat, and the sum over partitions that come and go.
import type { Join } from './join.ts';
import type { Pipeline } from './pipeline.ts';

export type Counters = Readonly<Record<string, number>>;

/** Say how it is now; all others are cumulative. */
const GAUGES = [
  'requests_open',
  'boots',
  'batches_waiting',
  'checkpoint_overflow',
  'checkpoint_boots_cut',
  'messages_pending',
];

export function sumOf(all: readonly Counters[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const counters of all)
    for (const [name, count] of Object.entries(counters)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}

/** What is left to say of a partition that is given up. */
export function cumulative(counters: Counters): Counters {
  return Object.fromEntries(Object.entries(counters).filter(([name]) => !GAUGES.includes(name)));
}

export function partitionCounters(join: Join, pipeline: Pipeline): Record<string, number> {
  const { counters } = join;
  return {
    batches_in: counters.batchesIn,
    events_in: counters.eventsIn,
    flows_out: counters.flowsOut,
    requests_out: counters.requestsOut,
    closes: counters.closes,
    uses_merged: counters.usesMerged,
    inbound_uses: counters.inboundUses,
    connections_forgotten: counters.connectionsForgotten,
    ...prefixed('unattributed', counters.unattributed),
    unknown_rows: counters.unknownRows,
    fallen_off: counters.fallenOff,
    requests_unreported: counters.requestsUnreported,
    ends_unknown: counters.endsUnknown,
    starts_repeated: counters.startsRepeated,
    lost_batches: counters.lostBatches,
    early_batches: pipeline.early,
    late_batches: counters.lateBatches,
    repeated_batches: counters.repeatedBatches,
    uncertain_batches: counters.uncertainBatches,
    boots_dropped: counters.bootsDropped,
    requests_open: join.size,
    boots: join.bootCount,
    batches_waiting: pipeline.held,
    replayed: pipeline.replayed,
    ...prefixed('dead_letters', pipeline.refused),
    oversize_rows: pipeline.oversizeRows,
  };
}

function prefixed(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}_${name}`, count]));
}
