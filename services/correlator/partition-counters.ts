// What a partition counts, under the names of its heartbeat.
import type { PublisherStats } from '../runtime/bus.ts';
import type { Join } from './join.ts';
import type { Pipeline } from './pipeline.ts';

export function partitionCounters(
  join: Join,
  pipeline: Pipeline,
  published: PublisherStats,
): Record<string, number> {
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
    late_batches: counters.lateBatches,
    repeated_batches: counters.repeatedBatches,
    uncertain_batches: counters.uncertainBatches,
    boots_dropped: counters.bootsDropped,
    requests_open: join.size,
    boots: join.bootCount,
    replayed: pipeline.replayed,
    ...prefixed('dead_letters', pipeline.refused),
    oversize_rows: pipeline.oversizeRows,
    rows_acked: published.ackedRows,
    messages_queued: published.queued,
    messages_resent: published.resent,
  };
}

function prefixed(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}_${name}`, count]));
}
