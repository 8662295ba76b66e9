// What the correlator publishes and the sink answers: self-describing rows of flows and of finished requests.
import { z } from 'zod';
import { decode, pack } from './codec.ts';

export const FLOW_SCHEMA = 'flow.v1';
export const REQUEST_SCHEMA = 'request.v1';

const PROCESS_FIELDS = {
  'host.name': 'string',
  'process.pid': 'number',
  'process.executable.name': 'string',
  'process.executable.path': 'string',
  'process.creation.time': 'time',
  'service.name': 'string',
  'container.id': 'string',
  'k8s.namespace.name': 'string',
  'k8s.pod.name': 'string',
  'k8s.pod.uid': 'string',
} as const;

const REQUEST_LINE_FIELDS = {
  'http.request.method': 'string',
  'url.path': 'string',
  'url.query': 'string',
} as const;

const CAUSE_FIELDS = {
  'server.address': 'string',
  'client.address': 'string',
  'client.port': 'number',
  trace_id: 'string',
  span_id: 'string',
  'flowtag.request.start': 'time',
} as const;

/**
 * Field name to type; OpenTelemetry semantic conventions 1.44, own `flowtag.` prefix where they have none.
 * `time`: Unix epoch ns as bigint. A field without a value is null.
 */
export const FLOW_FIELDS = {
  'flowtag.flow.id': 'string',
  time: 'time',
  ...PROCESS_FIELDS,
  'thread.id': 'number',
  'flowtag.go.goroutine.id': 'number',
  'flowtag.request.id': 'string',
  ...REQUEST_LINE_FIELDS,
  'http.route': 'string',
  ...CAUSE_FIELDS,
  'code.function.name': 'string',
  'code.file.path': 'string',
  'code.line.number': 'number',
  'code.stacktrace': 'string', // only when asked for
  'flowtag.request.handler': 'string', // the function that net/http called for the request
  'network.transport': 'string',
  'network.type': 'string',
  'network.local.address': 'string',
  'network.local.port': 'number',
  'network.peer.address': 'string',
  'network.peer.port': 'number',
  'network.community_id': 'string',
  'flowtag.connection': 'string', // new, reused
  'flowtag.connection.id': 'string', // socket cookie, decimal
  'error.type': 'string',
  'flowtag.connect.duration': 'number', // ns
  'flowtag.attribution.verdict': 'string', // exact, lineage, pooled, thread, none
  'flowtag.attribution.depth': 'number',
  // Of none: no_request, lost_event, expired, request_ended, channel, map_full, not_instrumented; predates_capture also
  // stands beside another verdict: the use is attributed, but who opened the connection was not seen.
  'flowtag.attribution.reason': 'string',
} as const;

/** A finished request: its facts, how it ended and how many flows it caused. */
export const REQUEST_FIELDS = {
  'flowtag.request.id': 'string',
  time: 'time',
  ...PROCESS_FIELDS,
  'flowtag.go.goroutine.id': 'number',
  ...REQUEST_LINE_FIELDS,
  ...CAUSE_FIELDS,
  'flowtag.request.duration': 'number', // ns
  'http.response.status_code': 'number',
  'error.type': 'string', // aborted
  'flowtag.request.flows': 'number',
} as const;

type FieldTypes = Readonly<Record<string, 'string' | 'number' | 'time'>>;
type ValueOf<T> = T extends 'string' ? string : T extends 'number' ? number : bigint;
export type RowOf<F extends FieldTypes> = { -readonly [K in keyof F]: ValueOf<F[K]> | null };
export type Flow = RowOf<typeof FLOW_FIELDS>;
export type FinishedRequest = RowOf<typeof REQUEST_FIELDS>;

export const FLOW_COLUMNS = Object.keys(FLOW_FIELDS) as (keyof Flow)[];

/** MessagePack knows larger ones; as nanoseconds no calendar does. */
const [TIME_MIN, TIME_MAX] = [-(2n ** 63n), 2n ** 64n - 1n];

const value = z.union([z.string(), z.number(), z.bigint(), z.null()]);
const rowsMessage = z.object({
  v: z.literal(1),
  columns: z.array(z.string()).max(256),
  rows: z.array(z.array(value)).max(65_535),
});

export function encodeRows<F extends FieldTypes>(fields: F, rows: readonly RowOf<F>[]): Uint8Array {
  const columns = Object.keys(fields);
  return pack({ v: 1, columns, rows: rows.map((row) => columns.map((column) => row[column] ?? null)) });
}

/** Rows of known fields (unknown columns are left out, missing ones null), or in words what is wrong. */
export function decodeRows<F extends FieldTypes>(fields: F, bytes: Uint8Array): RowOf<F>[] | string {
  const decoded = decode(rowsMessage, bytes);
  if (typeof decoded === 'string') return decoded;
  const { columns, rows } = decoded;
  const names = Object.entries(fields);
  const at = names.map(([name]) => columns.indexOf(name));
  const out: RowOf<F>[] = [];
  for (const [index, cells] of rows.entries()) {
    if (cells.length !== columns.length)
      return `row ${index} has ${cells.length} values, not ${columns.length}`;
    const row: Record<string, unknown> = {};
    for (const [i, [name, type]] of names.entries()) {
      const cell = at[i]! < 0 ? null : cells[at[i]!]!;
      if (cell !== null && typeof cell !== (type === 'time' ? 'bigint' : type))
        return `row ${index}: ${name} is a ${typeof cell}, not a ${type}`;
      if (typeof cell === 'bigint' && (cell < TIME_MIN || cell > TIME_MAX))
        return `row ${index}: ${name} does not fit in 64 bits`;
      row[name] = cell;
    }
    out.push(row as RowOf<F>);
  }
  return out;
}
