// Names of the heartbeat's counters as Prometheus metrics: THE list. Whoever adds a counter adds a line here.

export interface Metric {
  /** Of a counter; `<label>` stands for its rest, which becomes the value of that label. */
  readonly counter: string;
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export const ROLES = ['capture', 'correlator', 'sink', 'store'] as const;
export type Role = (typeof ROLES)[number];

/**
 * Reasons that services leave out while they are 0. As metrics they must be there from the start: an increase from
 * nothing to 1 is none to Prometheus.
 */
const CAPTURE_DROPS = [
  'ring_full.request_start',
  'ring_full.request_end',
  'ring_full.socket',
  'unknown_record',
  'queue_full.uprobe',
  'queue_full.kprobe',
  'spool_full.uprobe',
  'spool_full.kprobe',
];
const SINK_REFUSALS = ['unknown_schema', 'malformed', 'unstorable'];

const CAPTURE: readonly Metric[] = [
  total('captured.<kind>', 'capture_events', 'Events that a hook saw, delivered or not'),
  ...CAPTURE_DROPS.map((reason) =>
    dropped(`dropped.${reason}`, 'capture_dropped_events', 'Events that never reached the bus', reason),
  ),
  total('dropped.<reason>', 'capture_dropped_events', 'Events that never reached the bus'),
  total('read_fault.<what>', 'capture_read_faults', 'Reads of a server’s memory that failed in a hook'),
  total('map_full', 'capture_map_full', 'Contexts that found no room: see --max-contexts'),
  total('listeners_full', 'capture_listeners_full', 'Listening ports that found no room'),
  total('ring_full.process_end', 'capture_dropped_process_ends', 'Ends of processes that were not told', {
    reason: 'ring_full',
  }),
  total('hits.<hook>', 'capture_probe_hits', 'Hits of the probes that are attached now'),
  total('callers_unknown', 'capture_callers_unknown', 'Calls whose function could not be named'),
  gauge(
    'symbols_unreadable',
    'capture_symbols_unreadable',
    'Failed reads of symbols of attached executables',
  ),
  gauge(
    'code_unclear',
    'capture_code_unclear',
    'Functions of attached executables that could not be followed',
  ),
  gauge('executables', 'capture_executables', 'Executables that are probed'),
  total('wakes', 'capture_wakes', 'Wake-ups of the reader of the ring'),
  gauge('queued', 'capture_queued_messages', 'Batches that wait for the bus'),
  gauge('spool_bytes', 'capture_spool_bytes', 'Size of the spool on disk'),
  gauge('spool_segments', 'capture_spool_segments', 'Files of the spool'),
  dropped('spool_lost_rows', 'capture_spool_lost_events', 'Events that the spool gave up', 'spool_full'),
  total('spool_damaged_bytes', 'capture_spool_damaged_bytes', 'Bytes of the spool that could not be read'),
  total('spool_write_failures', 'capture_spool_write_failures', 'Writes to the spool that failed'),
  total('published_rows', 'capture_published_events', 'Events that the bus acknowledged'),
];

const CORRELATOR: readonly Metric[] = [
  total('batches_in', 'correlator_batches', 'Batches of events joined'),
  total('events_in', 'correlator_events', 'Events joined'),
  total('flows_out', 'correlator_flows', 'Flows made'),
  total('requests_out', 'correlator_requests', 'Finished requests told'),
  total('closes', 'correlator_closes', 'Connections that closed'),
  total('uses_merged', 'correlator_uses_merged', 'Further uses of a connection by the same request'),
  total('inbound_uses', 'correlator_inbound_uses', 'Responses on a request’s own connection'),
  total(
    'connections_forgotten',
    'correlator_connections_forgotten',
    'Connections of a request beyond those remembered',
  ),
  total('unattributed_<reason>', 'correlator_unattributed_flows', 'Flows with the verdict none'),
  dropped(
    'unknown_rows',
    'correlator_dropped_events',
    'Events that were read and gave nothing',
    'unknown_type',
  ),
  dropped(
    'ends_unknown',
    'correlator_dropped_events',
    'Events that were read and gave nothing',
    'unknown_request',
  ),
  dropped(
    'starts_repeated',
    'correlator_dropped_events',
    'Events that were read and gave nothing',
    'repeated',
  ),
  dropped('fallen_off', 'correlator_dropped_requests', 'Requests given up', 'fallen_off'),
  dropped('requests_unreported', 'correlator_dropped_requests', 'Requests given up', 'unreported'),
  dropped(
    'lost_batches',
    'correlator_dropped_batches',
    'Batches not joined, or not in order',
    'sequence_gap',
  ),
  dropped(
    'repeated_batches',
    'correlator_dropped_batches',
    'Batches not joined, or not in order',
    'repeated',
  ),
  total('early_batches', 'correlator_early_batches', 'Batches that waited for an earlier one'),
  total('late_batches', 'correlator_late_batches', 'Batches that came behind later ones'),
  total(
    'uncertain_batches',
    'correlator_uncertain_batches',
    'Batches of which it is not known whether they were joined',
  ),
  total(
    'boots_dropped',
    'correlator_dropped_boots',
    'Hosts given up: more than are remembered, or silent for a day',
    {
      reason: 'fallen_off',
    },
  ),
  gauge('requests_open', 'correlator_remembered_requests', 'Requests remembered'),
  gauge('boots', 'correlator_boots', 'Boots of hosts remembered'),
  gauge('batches_waiting', 'correlator_waiting_batches', 'Batches that wait for an earlier one'),
  gauge('partitions', 'correlator_partitions', 'Partitions owned'),
  total('partitions_fenced', 'correlator_fenced_partitions', 'Partitions dropped because another one wrote'),
  total('replayed', 'correlator_replayed_messages', 'Messages read again to rebuild the state'),
  total('dead_letters_<reason>', 'correlator_dead_letters', 'Messages set aside'),
  dropped('dead_letters_dropped', 'correlator_dropped_messages', 'Messages lost', 'dead_letter'),
  dropped('discarded_unread', 'correlator_dropped_messages', 'Messages lost', 'discarded_unread'),
  dropped('messages_unpublishable', 'correlator_dropped_messages', 'Messages lost', 'unpublishable'),
  dropped('oversize_rows', 'correlator_dropped_rows', 'Rows too large for the bus', 'oversize'),
  total('rows_acked', 'correlator_published_rows', 'Rows that the bus acknowledged'),
  gauge('messages_queued', 'correlator_queued_messages', 'Messages that wait for the bus'),
  total('messages_resent', 'correlator_resent_messages', 'Messages sent again'),
  gauge('messages_pending', 'correlator_lag_messages', 'Messages of the event stream not yet read'),
  total('checkpoints', 'correlator_checkpoints', 'Checkpoints written'),
  total(
    'checkpoint_overflow',
    'correlator_checkpoint_overflow',
    'Open requests that a checkpoint had no room for',
  ),
  total('checkpoint_boots_cut', 'correlator_checkpoint_boots_cut', 'Boots that a checkpoint had no room for'),
  total('reader_recreated', 'correlator_reader_recreated', 'Consumers made anew'),
];

const SINK: readonly Metric[] = [
  total('messages_read', 'sink_messages', 'Messages read'),
  dropped('messages_discarded_unread', 'sink_dropped_messages', 'Messages lost', 'discarded_unread'),
  dropped('dead_letters_dropped', 'sink_dropped_messages', 'Messages lost', 'dead_letter'),
  gauge('messages_pending', 'sink_lag_messages', 'Messages of the flow stream not yet read'),
  total('flows_stored', 'sink_stored_flows', 'Flows stored'),
  total('requests_stored', 'sink_stored_requests', 'Finished requests stored'),
  total('ledger_stored', 'sink_stored_ledger_rows', 'Rows of the ledger stored'),
  total('rows_repeated', 'sink_repeated_rows', 'Rows that were stored already'),
  total('blocks_stored', 'sink_stored_blocks', 'Blocks of rows stored'),
  total('retries', 'sink_retries', 'Writes tried again'),
  ...SINK_REFUSALS.map((reason) =>
    dropped(`dead_letters_${reason}`, 'sink_dead_letters', 'Messages set aside', reason),
  ),
  total('dead_letters_<reason>', 'sink_dead_letters', 'Messages set aside'),
  total('lookups', 'sink_lookups', 'Look-ups answered'),
  total('lookup_errors', 'sink_lookup_errors', 'Look-ups that failed'),
];

const METRICS: Readonly<Record<Role, readonly Metric[]>> = {
  capture: CAPTURE,
  correlator: CORRELATOR,
  sink: SINK,
  store: [],
};

/** Of a role: those every role has first, which are no counters, then those of its counters. */
export function metricsOf(role: Role): readonly Metric[] {
  return [
    gauge('', `${role}_ready`, 'Whether /readyz says so: 1 or 0'),
    gauge('', `${role}_state`, '1 for the state that it is in', { state: '' }),
    gauge('', `${role}_info`, '1; the version is a label', { version: '' }),
    ...METRICS[role],
    gauge('<counter>', `${role}_other`, 'Counters that have no name of their own yet'),
  ];
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What is shown before anything was counted. */
export function zerosOf(role: Role): Sample[] {
  return metricsOf(role)
    .filter(({ counter, type }) => type === 'counter' && !counter.endsWith('>'))
    .map(({ name, labels }) => ({ name, labels: labels ?? {}, value: 0 }));
}

/** A counter that the list does not know is shown under `…_other`: never hidden. */
export function samplesOf(role: Role, counters: Readonly<Record<string, number>>): Sample[] {
  const metrics = metricsOf(role).filter(({ counter }) => counter !== '');
  // The whole name first: `dead_letters_dropped` is no reason of `dead_letters_<reason>`.
  const named = new Map(metrics.map((metric) => [metric.counter, metric]));
  const families = metrics.filter(({ counter }) => counter.endsWith('>'));
  return Object.entries(counters).map(([counter, value]) => {
    const exact = named.get(counter);
    if (exact) return { name: exact.name, labels: exact.labels ?? {}, value };
    const family = families.find((metric) => counter.startsWith(prefixOf(metric)))!;
    return {
      name: family.name,
      labels: { [labelOf(family)!]: counter.slice(prefixOf(family).length) },
      value,
    };
  });
}

export function labelsOf(metric: Metric): string[] {
  const label = labelOf(metric);
  return [...Object.keys(metric.labels ?? {}), ...(label === undefined ? [] : [label])];
}

function prefixOf({ counter }: Metric): string {
  return counter.slice(0, counter.indexOf('<'));
}

function labelOf({ counter }: Metric): string | undefined {
  return /<(\w+)>$/.exec(counter)?.[1];
}

function total(counter: string, noun: string, help: string, labels?: Metric['labels']): Metric {
  return { counter, name: `flowtag_${noun}_total`, type: 'counter', help, ...(labels && { labels }) };
}

function dropped(counter: string, noun: string, help: string, reason: string): Metric {
  return total(counter, noun, help, { reason });
}

function gauge(counter: string, noun: string, help: string, labels?: Metric['labels']): Metric {
  return { counter, name: `flowtag_${noun}`, type: 'gauge', help, ...(labels && { labels }) };
}
