// What capture publishes: batches of request facts (uprobe) and of socket facts (kprobe), columnar.
import { z } from 'zod';
import { decode, pack } from './codec.ts';
import {
  type ColumnBytes,
  type ColumnSpec,
  type Columns,
  columnBytes,
  emptyStrings,
  readColumns,
  U64Column,
} from './columns.ts';
import type { EventKind } from './subjects.ts';

export const UPROBE_SCHEMA = 'uprobe.v1';
export const KPROBE_SCHEMA = 'kprobe.v1';

export const REQUEST_START = 1;
export const REQUEST_END = 2;
export const SOCKET_CONNECT = 1;
export const SOCKET_USE = 2;
export const SOCKET_CLOSE = 3;

/** How the context of a socket event reached its goroutine; 0 when there was no context. */
export const VIA = { none: 0, direct: 1, lineage: 2, pooled: 3, dial: 4, thread: 5, channel: 6 } as const;

/** Bits of `flags`: what capture knows to be incomplete about a row. */
export const FLAG = {
  pathTruncated: 1,
  readFault: 2,
  mapFull: 4,
  /** The connection was open before capture looked at its process. */
  predatesCapture: 8,
  /** The process's probes were taken off again: its requests are not seen. */
  notInstrumented: 16,
  /** Its goroutine, or one that started it, goes round between this call and a channel: maybe another request's work. */
  fromChannel: 32,
  /** Its goroutine, or one that started it, goes round and makes this call again: maybe a worker, once its request ended. */
  inLoop: 64,
} as const;

/** Processes that the rows of a batch refer to by index: each batch explains itself. */
export const PROCESS_COLUMNS = {
  'process.pid': 'u32',
  'process.executable.name': 'str',
  'process.executable.path': 'str',
  'process.creation.time': 'u64',
  'service.name': 'str',
  'container.id': 'str',
  'k8s.namespace.name': 'str',
  'k8s.pod.name': 'str',
  'k8s.pod.uid': 'str',
} as const satisfies ColumnSpec;

/** Those that batches of 0.1.0 lack: unknown there. */
const LATER_PROCESS_COLUMNS = ['k8s.namespace.name', 'k8s.pod.name', 'k8s.pod.uid'] as const;

/** Functions that made the calls which the rows of a batch report; a row refers to one by 1 + index. */
export const CALLER_COLUMNS = {
  'code.function.name': 'str',
  'code.file.path': 'str',
  'code.line.number': 'u32',
  'code.stacktrace': 'str', // '' unless asked for
  'flowtag.request.handler': 'str', // the function that net/http called, '' unknown
} as const satisfies ColumnSpec;

/** One row a request start or end, in kernel order. Ids are below 2^53; times are Unix epoch ns. */
export const UPROBE_COLUMNS = {
  type: 'u8',
  requestId: 'u64',
  timeNs: 'u64',
  process: 'u16',
  tid: 'u32',
  goid: 'u64',
  flags: 'u16',
  method: 'str',
  path: 'str',
  query: 'str',
  serverAddress: 'str',
  clientAddress: 'str',
  clientPort: 'u16',
  traceId: 'str',
  spanId: 'str',
  status: 'i16', // of an end: HTTP status, 0 unknown, -1 aborted
} as const satisfies ColumnSpec;

/** One row a socket event, in kernel order. `requestId` 0: the kernel saw no causal chain to a request. */
export const KPROBE_COLUMNS = {
  type: 'u8',
  eventId: 'u64',
  requestId: 'u64',
  timeNs: 'u64',
  process: 'u16',
  tid: 'u32',
  goid: 'u64',
  via: 'u8',
  depth: 'u8',
  flags: 'u16',
  connectionId: 'u64', // socket cookie
  netns: 'u32',
  family: 'u8', // 4 or 6
  localAddress: 'str',
  localPort: 'u16',
  peerAddress: 'str',
  peerPort: 'u16',
  errno: 'u16',
  durationNs: 'u64', // of a connect: until it succeeded or failed; of a close: the connection's life; 0 unknown
  caller: 'u16', // 0 unknown, else 1 + index in the batch's callers
} as const satisfies ColumnSpec;

/** High words that are too large: of numbers that must be exact, and of times that a store can hold (to the year 2100). */
const EXACT_HIGH = 2 ** 21;
const TIME_HIGH = Math.floor(4_102_444_800_000_000_000 / 2 ** 32);
const HIGH_OF: Readonly<Record<string, number>> = {
  eventId: EXACT_HIGH,
  requestId: EXACT_HIGH,
  goid: EXACT_HIGH,
  durationNs: EXACT_HIGH,
  timeNs: TIME_HIGH,
  'process.creation.time': TIME_HIGH,
};

/** 2100-01-01: what a store can hold, and below what MessagePack can be made to write. */
const epochNs = z.bigint().nonnegative().max(4_102_444_800_000_000_000n);

/** A host has some twenty: it must not make others remember any number. */
const MAX_COUNTS = 64;
const counts = z
  .record(z.string().max(64), z.number().int().nonnegative())
  .refine((all) => Object.keys(all).length <= MAX_COUNTS, `more than ${MAX_COUNTS} counts`);

/** Counts since this run of capture began; captured = published + dropped. */
export const ledger = z.object({
  sinceNs: epochNs,
  captured: counts,
  dropped: counts,
});
export type Ledger = z.infer<typeof ledger>;

const name = z.string().min(1).max(255);
const envelope = z.object({
  v: z.literal(1),
  kind: z.enum(['uprobe', 'kprobe']),
  host: name,
  boot: name,
  seq: z.number().int().positive(),
  fromNs: epochNs,
  uptoNs: epochNs,
  n: z.number().int().min(0).max(65_535),
  ledger,
  processes: z.number().int().min(0).max(65_535),
  /** 0 in a uprobe batch. */
  callers: z.number().int().min(0).max(65_534),
  cols: z.record(z.string(), columnBytes),
});
export type EventEnvelope = z.infer<typeof envelope>;

interface BatchOf<K extends EventKind, S extends ColumnSpec> extends Omit<EventEnvelope, 'kind' | 'cols'> {
  readonly kind: K;
  readonly rows: Columns<S>;
  readonly process: Columns<typeof PROCESS_COLUMNS>;
}
export interface KprobeBatch extends BatchOf<'kprobe', typeof KPROBE_COLUMNS> {
  readonly caller: Columns<typeof CALLER_COLUMNS>;
}
export type UprobeBatch = BatchOf<'uprobe', typeof UPROBE_COLUMNS>;
export type EventBatch = UprobeBatch | KprobeBatch;

export function schemaOf(kind: EventKind): string {
  return kind === 'uprobe' ? UPROBE_SCHEMA : KPROBE_SCHEMA;
}

/** `cols` holds the row columns and, under `process.…`, `service.…`, `container.…`, `k8s.…`, the process table. */
export function encodeEvents(batch: EventEnvelope & { cols: Record<string, ColumnBytes> }): Uint8Array {
  return pack(batch);
}

/** The batch with these counts in its ledger: of losses that came after it was made, and before it was sent. */
export function withDropped(bytes: Uint8Array, dropped: Ledger['dropped']): Uint8Array {
  const batch = decode(envelope, bytes);
  if (typeof batch === 'string') return bytes;
  const { ledger } = batch;
  return pack({ ...batch, ledger: { ...ledger, dropped: { ...ledger.dropped, ...dropped } } });
}

/** A checked batch, or in words why the bytes are not one. Never throws. */
export function decodeEvents(bytes: Uint8Array): EventBatch | string {
  const decoded = decode(envelope, bytes);
  if (typeof decoded === 'string') return decoded;
  const { cols, ...head } = decoded;
  for (const name of LATER_PROCESS_COLUMNS) cols[name] ??= emptyStrings(head.processes);
  const process = readColumns(PROCESS_COLUMNS, head.processes, cols);
  if (typeof process === 'string') return process;
  const rows = readColumns(head.kind === 'uprobe' ? UPROBE_COLUMNS : KPROBE_COLUMNS, head.n, cols);
  if (typeof rows === 'string') return rows;
  const large = tooLarge(process) ?? tooLarge(rows);
  if (large !== undefined) return large;
  for (let row = 0; row < head.n; row++)
    if (rows.process[row]! >= head.processes)
      return `row ${row} names process ${rows.process[row]}, of ${head.processes}`;
  if (head.kind === 'uprobe') return { ...head, process, rows } as UprobeBatch;
  const caller = readColumns(CALLER_COLUMNS, head.callers, cols);
  if (typeof caller === 'string') return caller;
  const { caller: named } = rows as KprobeBatch['rows'];
  for (let row = 0; row < head.n; row++)
    if (named[row]! > head.callers) return `row ${row} names caller ${named[row]}, of ${head.callers}`;
  return { ...head, process, caller, rows } as KprobeBatch;
}

/** The first number that means nothing, in words: passed on it would be refused, or rounded to another one. */
function tooLarge(columns: Readonly<Record<string, unknown>>): string | undefined {
  for (const [name, high] of Object.entries(HIGH_OF)) {
    const column = columns[name];
    if (!(column instanceof U64Column)) continue;
    const { words } = column;
    for (let at = 1; at < words.length; at += 2)
      if (words[at]! >= high) return `row ${(at - 1) / 2}: ${name} is too large`;
  }
  return undefined;
}
