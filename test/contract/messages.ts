// One message of every kind, with values at the edges of what their fields hold.
import { pack } from '../../schemas/codec.ts';
import { type ColumnBytes, type ColumnSpec, ColumnWriter, type StringWriter } from '../../schemas/columns.ts';
import {
  CALLER_COLUMNS,
  encodeEvents,
  KPROBE_COLUMNS,
  PROCESS_COLUMNS,
  UPROBE_COLUMNS,
} from '../../schemas/events.ts';
import { LEDGER_FIELDS, type LedgerRow } from '../../schemas/ledger.ts';
import {
  encodeRows,
  type FinishedRequest,
  FLOW_COLUMNS,
  FLOW_FIELDS,
  type Flow,
  REQUEST_FIELDS,
} from '../../schemas/rows.ts';
import type { Status } from '../../schemas/status.ts';

const START_NS = 1_763_000_000_000_000_001n;
const REQUEST_ID = Number.MAX_SAFE_INTEGER;
const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';

export const HEAD = {
  v: 1,
  host: 'node-a.example.org',
  boot: '4a6b1c1e-0000-4000-8000-000000000001',
  fromNs: START_NS,
  uptoNs: 1_763_000_000_500_000_000n,
  ledger: {
    sinceNs: 1_762_999_000_000_000_000n,
    captured: { request_start: 1, request_end: 1, socket: 4_294_967_296 },
    dropped: { 'ring_full.socket': 3 },
  },
} as const;

export const PROCESS = {
  'process.pid': 4321,
  'process.executable.name': 'orders',
  'process.executable.path': '/usr/bin/orders',
  'process.creation.time': 1_762_998_000_120_000_000n,
  'service.name': 'bestellungen-ä',
  'container.id': 'c0ffee'.padEnd(64, '0'),
  'k8s.namespace.name': 'shop',
  'k8s.pod.name': 'orders-5d4f7c9b6-x2x7q',
  'k8s.pod.uid': '8f2c1e1e-0000-4000-8000-000000000001',
};
const GONE = { ...PROCESS, 'process.pid': 4_194_304, 'process.creation.time': 0n, 'service.name': '' };

const actor = { process: 0, tid: 4330, goid: 37n, flags: 0 };
const text = { method: 'GET', path: '/größe', query: 'n=1', serverAddress: 'orders.example.org:8080' };
const client = { clientAddress: '10.0.0.5', clientPort: 40_522, traceId: TRACE_ID, spanId: SPAN_ID };
const none = { method: '', path: '', query: '', serverAddress: '', clientAddress: '', clientPort: 0 };
const request = { requestId: BigInt(REQUEST_ID) };
export const UPROBE_ROWS = [
  { type: 1, ...request, timeNs: START_NS, ...actor, ...text, ...client, status: 0, flags: 1 },
  { type: 2, ...request, timeNs: HEAD.uptoNs, ...actor, ...none, traceId: '', spanId: '', status: -1 },
];

const ipv4 = { netns: 4_026_531_840, family: 4, localAddress: '10.0.0.7', peerAddress: '10.0.0.9' };
const ipv6 = { netns: 4_026_531_840, family: 6, localAddress: '2001:db8::7', peerAddress: '2001:db8::9' };
const ports = { localPort: 40_524, peerPort: 5432, errno: 0, durationNs: 0n };
const connection = { connectionId: 2n ** 64n - 1n };
export const KPROBE_ROWS = [
  { type: 1, eventId: 900n, ...request, timeNs: START_NS, ...actor, via: 2, depth: 3 },
  { type: 2, eventId: 901n, ...request, timeNs: START_NS, ...actor, via: 6, depth: 0, flags: 8, caller: 2 },
  { type: 3, eventId: 902n, requestId: 0n, timeNs: START_NS, ...actor, process: 1, via: 0, depth: 255 },
].map((row, n) => ({
  caller: 1,
  ...row,
  ...connection,
  ...(n === 1 ? ipv6 : ipv4),
  ...ports,
  ...(n === 0 && { durationNs: 812_000n }),
  ...(n === 2 && { errno: 111, caller: 0 }),
}));
export const KPROBE_PROCESSES = [PROCESS, GONE];
export const CALLERS = [
  {
    'code.function.name': 'example.org/bestellungen/größe.(*Client).Call[...]',
    'code.file.path': 'example.org/bestellungen/größe/client.go',
    'code.line.number': 4_294_967_295,
    'code.stacktrace': 'main.call\n\t/src/main.go:12\n',
    'flowtag.request.handler': 'main.(*Orders).ServeHTTP',
  },
  {
    'code.function.name': 'main.call',
    'code.file.path': '/src/main.go',
    'code.line.number': 12,
    'code.stacktrace': '',
    'flowtag.request.handler': '',
  },
];

/** All fields null but these; values of the types that FLOW_FIELDS names. */
export const FLOW = {
  ...(Object.fromEntries(FLOW_COLUMNS.map((name) => [name, null])) as Flow),
  'flowtag.flow.id': '0123456789abcdef0123456789abcdef',
  time: START_NS,
  'host.name': HEAD.host,
  'process.pid': 4321,
  'process.creation.time': PROCESS['process.creation.time'],
  'service.name': PROCESS['service.name'],
  'flowtag.go.goroutine.id': REQUEST_ID,
  'url.path': '/größe',
  'client.port': 0,
  trace_id: TRACE_ID,
  'code.function.name': 'main.call',
  'code.file.path': '/src/main.go',
  'code.line.number': 12,
  'code.stacktrace': 'main.call\n\t/src/main.go:12\n',
  'flowtag.request.handler': 'main.handle',
  'flowtag.connection.id': '18446744073709551615',
  'flowtag.connect.duration': 4_294_967_296,
  'flowtag.attribution.verdict': 'lineage',
  'flowtag.attribution.depth': 2,
} satisfies Flow;

export const REQUEST = {
  ...(Object.fromEntries(Object.keys(REQUEST_FIELDS).map((name) => [name, null])) as FinishedRequest),
  'flowtag.request.id': String(REQUEST_ID),
  time: HEAD.uptoNs,
  'host.name': HEAD.host,
  'flowtag.request.start': START_NS,
  'flowtag.request.duration': 499_999_999,
  'http.response.status_code': 200,
  'flowtag.request.flows': 1,
} satisfies FinishedRequest;

export const STATUS: Status = {
  v: 1,
  role: 'capture',
  instance: HEAD.host,
  host: HEAD.host,
  version: '0.1.0',
  timeNs: HEAD.uptoNs,
  startedNs: HEAD.ledger.sinceNs,
  state: 'degraded',
  notes: ['/usr/bin/größe: not a Go program'],
  counters: { 'captured.socket': 4_294_967_296, wakes: 0 },
};

export const BOOKS: LedgerRow = {
  'flowtag.ledger.id': '0123456789abcdef00000000deadbeef',
  time: HEAD.uptoNs,
  'host.name': HEAD.host,
  'flowtag.boot': HEAD.boot,
  'flowtag.run': HEAD.ledger.sinceNs,
  'flowtag.ledger.counts': '{"captured.socket":3,"dropped.ring_full.socket":1,"received.kprobe":2}',
};

export const MESSAGES: Readonly<Record<string, () => Uint8Array>> = {
  'uprobe.v1': () => events('uprobe', 41, UPROBE_COLUMNS, UPROBE_ROWS, [PROCESS]),
  'kprobe.v1': () => events('kprobe', 42, KPROBE_COLUMNS, KPROBE_ROWS, KPROBE_PROCESSES, CALLERS),
  'flow.v1': () => encodeRows(FLOW_FIELDS, [FLOW]),
  'request.v1': () => encodeRows(REQUEST_FIELDS, [REQUEST]),
  'ledger.v1': () => encodeRows(LEDGER_FIELDS, [BOOKS]),
  'status.v1': () => pack(STATUS),
};

type Row = Readonly<Record<string, string | number | bigint>>;

function events(
  kind: 'uprobe' | 'kprobe',
  seq: number,
  spec: ColumnSpec,
  rows: readonly Row[],
  processes: readonly Row[],
  callers?: readonly Row[],
): Uint8Array {
  const cols = {
    ...columns(spec, rows),
    ...columns(PROCESS_COLUMNS, processes),
    ...(callers && columns(CALLER_COLUMNS, callers)),
  };
  const counts = { n: rows.length, processes: processes.length, callers: callers?.length ?? 0 };
  return encodeEvents({ ...HEAD, kind, seq, ...counts, cols });
}

function columns(spec: ColumnSpec, rows: readonly Row[]): Record<string, ColumnBytes> {
  const writer = new ColumnWriter(spec, rows.length);
  for (const [n, row] of rows.entries())
    for (const [name, type] of Object.entries(spec)) {
      const column = writer.columns[name]!;
      const value = row[name]!;
      if (type === 'str') (column as StringWriter).set(n, value as string);
      else if (type === 'u64') {
        (column as Uint32Array)[2 * n] = Number((value as bigint) & 0xffff_ffffn);
        (column as Uint32Array)[2 * n + 1] = Number((value as bigint) >> 32n);
      } else (column as Uint32Array)[n] = value as number;
    }
  writer.n = rows.length;
  return writer.take();
}
