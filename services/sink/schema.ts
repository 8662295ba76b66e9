// Which column holds which field: THE table of the store. Its DDL, its row encoding and its queries are derived from it. Pure.
// Ordered by five-minute bucket, service, path and time, so that recent rows lie together and repeated text compresses;
// bloom filters instead of second orders, which would store each row again; a partition a day, so that what expires is
// dropped whole.
import { LEDGER_FIELDS, LEDGER_SCHEMA, type LedgerRow } from '../../schemas/ledger.ts';
import {
  type FinishedRequest,
  FLOW_FIELDS,
  FLOW_SCHEMA,
  type Flow,
  REQUEST_FIELDS,
  REQUEST_SCHEMA,
} from '../../schemas/rows.ts';
import {
  address,
  type ColumnKind,
  communityId,
  decimal,
  hex,
  label,
  text,
  time,
  unsigned,
} from './column-kind.ts';

export interface Column {
  readonly field: string;
  readonly name: string;
  readonly kind: ColumnKind;
  readonly codec: string;
}
export interface Table {
  readonly name: 'flows' | 'requests' | 'ledger';
  /** Of the messages whose rows it holds, and their fields. */
  readonly schema: string;
  readonly fields: Fields;
  readonly columns: readonly Column[];
  readonly order: string;
  /** Identity of a row: the store holds each once. */
  readonly id: Column;
  readonly indexes: readonly string[];
}

type Spec = readonly [kind: ColumnKind, codec?: string];
type Fields = Readonly<Record<string, 'string' | 'number' | 'time'>>;

const id = [hex(16)] as const;
const ascending = [time, 'Delta(8), ZSTD(1)'] as const;
const small = [unsigned(32)] as const;
const port = [unsigned(16)] as const;
const counter = [unsigned(64), 'T64, ZSTD(1)'] as const;

/** Kernel and Go numbers whose 0 never is a real value: pid, thread, goroutine, port, line, cookie. */
const FLOW_COLUMN: Readonly<Record<keyof Flow, Spec>> = {
  'flowtag.flow.id': id,
  time: ascending,
  'host.name': [label],
  'process.pid': small,
  'process.executable.name': [label],
  'process.executable.path': [label],
  'process.creation.time': ascending,
  'service.name': [label],
  'container.id': [label],
  'k8s.namespace.name': [label],
  'k8s.pod.name': [label],
  'k8s.pod.uid': [label],
  'thread.id': small,
  'flowtag.go.goroutine.id': counter,
  'flowtag.request.id': id,
  'http.request.method': [label],
  'url.path': [text],
  'url.query': [text],
  'http.route': [label],
  'server.address': [label],
  // Text: it is what the application's server calls its client, which need not be an IP address.
  'client.address': [text],
  'client.port': port,
  trace_id: id,
  span_id: [hex(8)],
  'flowtag.request.start': ascending,
  'code.function.name': [label],
  'code.file.path': [label],
  'code.line.number': small,
  'code.stacktrace': [text],
  'flowtag.request.handler': [label],
  'network.transport': [label],
  'network.type': [label],
  // A connect that failed before it had a local end shows 0.0.0.0 (kept) or `::` and port 0 (read back as null).
  'network.local.address': [address],
  'network.local.port': port,
  'network.peer.address': [address],
  'network.peer.port': port,
  'network.community_id': [communityId],
  'flowtag.connection': [label],
  'flowtag.connection.id': [decimal],
  'error.type': [label],
  'flowtag.connect.duration': counter,
  'flowtag.attribution.verdict': [label],
  // 0 is real (exact): 65535 stands for null.
  'flowtag.attribution.depth': [unsigned(16, 65_535)],
  'flowtag.attribution.reason': [label],
};

const REQUEST_COLUMN: Readonly<Record<keyof FinishedRequest, Spec>> = {
  'flowtag.request.id': id,
  time: ascending,
  'host.name': [label],
  'process.pid': small,
  'process.executable.name': [label],
  'process.executable.path': [label],
  'process.creation.time': ascending,
  'service.name': [label],
  'container.id': [label],
  'k8s.namespace.name': [label],
  'k8s.pod.name': [label],
  'k8s.pod.uid': [label],
  'flowtag.go.goroutine.id': counter,
  'http.request.method': [label],
  'url.path': [text],
  'url.query': [text],
  'server.address': [label],
  'client.address': [text],
  'client.port': port,
  trace_id: id,
  span_id: [hex(8)],
  'flowtag.request.start': ascending,
  'flowtag.request.duration': counter,
  'http.response.status_code': port,
  'error.type': [label],
  // 0 is real (a request that caused no flow): the largest number stands for null.
  'flowtag.request.flows': [unsigned(32, 4_294_967_295)],
};

const LEDGER_COLUMN: Readonly<Record<keyof LedgerRow, Spec>> = {
  'flowtag.ledger.id': id,
  time: ascending,
  'host.name': [label],
  'flowtag.boot': [label],
  'flowtag.run': ascending,
  'flowtag.ledger.counts': [text],
};

/** Hash of one end of a connection. Written the same way in index and query, or the index is not used. */
export function endHash(addressSql: string, portSql: string): string {
  return `cityHash64(${addressSql}, ${portSql})`;
}

/** Both ends: one index answers a look-up by either end and by both, in either order. No stored column. */
export const ENDS = `[${endHash('network_local_address', 'network_local_port')}, ${endHash('network_peer_address', 'network_peer_port')}]`;

const BY_SERVICE = 'toStartOfFiveMinutes(time), service_name, url_path, time';
const BY_TRACE = 'INDEX ix_trace_id trace_id TYPE bloom_filter(0.01) GRANULARITY 1';

export const FLOWS: Table = {
  name: 'flows',
  schema: FLOW_SCHEMA,
  ...columnsOf(FLOW_FIELDS, FLOW_COLUMN, 'flowtag.flow.id'),
  order: BY_SERVICE,
  indexes: [
    `INDEX ix_ends ${ENDS} TYPE bloom_filter(0.01) GRANULARITY 1`,
    'INDEX ix_community_id network_community_id TYPE bloom_filter(0.01) GRANULARITY 1',
    BY_TRACE,
  ],
};
export const REQUESTS: Table = {
  name: 'requests',
  schema: REQUEST_SCHEMA,
  ...columnsOf(REQUEST_FIELDS, REQUEST_COLUMN, 'flowtag.request.id'),
  order: BY_SERVICE,
  indexes: [BY_TRACE],
};
export const LEDGER: Table = {
  name: 'ledger',
  schema: LEDGER_SCHEMA,
  ...columnsOf(LEDGER_FIELDS, LEDGER_COLUMN, 'flowtag.ledger.id'),
  order: 'host_name, boot, run, time',
  indexes: [],
};
/** In the order of inserting: what the books of a block count is stored before them. */
export const TABLES = [FLOWS, REQUESTS, LEDGER] as const;

/**
 * `retentionDays` after its time a row is gone. fsync: a block that is acknowledged survives a power cut (measured: no
 * visible cost at a block's size).
 */
export function createTable(table: Table, retentionDays: number): string {
  const columns = table.columns.map((column) => `  ${definition(column)}`);
  const indexes = [
    ...table.indexes,
    `INDEX ix_id ${table.id.name} TYPE bloom_filter(0.01) GRANULARITY 1`,
    'INDEX ix_time time TYPE minmax GRANULARITY 1',
  ].map((index) => `  ${index}`);
  return `CREATE TABLE IF NOT EXISTS ${table.name} (
${[...columns, '  stream_seq UInt64 CODEC(Delta(8), ZSTD(1))', ...indexes].join(',\n')}
) ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (${table.order})
TTL ${ttl(retentionDays)}
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1`;
}

/** Those that a table lacks which an earlier version made; `shown` is its `SHOW CREATE TABLE`. */
export function missingColumns(table: Table, shown: string): Column[] {
  return table.columns.filter(({ name }) => !shown.includes(`\`${name}\` `));
}

/** Rows that are there have no value in them. IF NOT EXISTS: two sinks may start at once. */
export function addColumns(table: Table, columns: readonly Column[]): string {
  return `ALTER TABLE ${table.name} ${columns.map((column) => `ADD COLUMN IF NOT EXISTS ${definition(column)}`).join(', ')}`;
}

/** For a table that exists with another retention. */
export function alterRetention(table: Table, retentionDays: number): string {
  return `ALTER TABLE ${table.name} MODIFY TTL ${ttl(retentionDays)}`;
}

/** As ClickHouse shows it in `SHOW CREATE TABLE`. */
export function ttl(retentionDays: number): string {
  return `toDateTime(time) + toIntervalDay(${retentionDays})`;
}

/** `flowtag.flow.id` → `flow_id`, `network.peer.port` → `network_peer_port`. */
export function columnName(field: string): string {
  return field.replace(/^flowtag\./, '').replaceAll('.', '_');
}

function definition({ name, kind, codec }: Column): string {
  return `${name} ${kind.type} CODEC(${codec})`;
}

function columnsOf<F extends Fields>(
  fields: F,
  specs: Readonly<Record<keyof F, Spec>>,
  idField: keyof F,
): Pick<Table, 'fields' | 'columns' | 'id'> {
  const columns = Object.keys(fields).map((field) => {
    const [kind, codec = 'ZSTD(1)'] = specs[field]!;
    return { field, name: columnName(field), kind, codec };
  });
  return { fields, columns, id: columns.find((column) => column.field === idField)! };
}
