// Batches as capture would publish them, from plain objects.
import { ColumnWriter, StringWriter } from '../../../schemas/columns.ts';
import {
  CALLER_COLUMNS,
  decodeEvents,
  type EventBatch,
  encodeEvents,
  KPROBE_COLUMNS,
  type Ledger,
  PROCESS_COLUMNS,
  REQUEST_END,
  REQUEST_START,
  UPROBE_COLUMNS,
} from '../../../schemas/events.ts';

/** Values by column name; what is left out is 0 or ''. */
export type Row = Readonly<Record<string, number | bigint | string>>;

export interface Head {
  readonly kind: 'uprobe' | 'kprobe';
  readonly host?: string;
  readonly boot?: string;
  readonly seq: number;
  readonly sinceNs?: bigint;
  readonly uptoNs?: bigint;
  readonly ledger?: Omit<Ledger, 'sinceNs'>;
  readonly processes?: readonly Row[];
  readonly callers?: readonly Row[];
}

export const DEFAULT_PROCESS: Row = {
  'process.pid': 4321,
  'process.executable.name': 'orders',
  'process.executable.path': '/usr/bin/orders',
  'process.creation.time': 1_700_000_000_000_000_000n,
  'service.name': 'orders',
  'container.id': '',
  'k8s.namespace.name': '',
  'k8s.pod.name': '',
  'k8s.pod.uid': '',
};

export function start(requestId: number, timeNs: bigint, more: Row = {}): Row {
  return { type: REQUEST_START, requestId, timeNs, method: 'GET', path: `/r/${requestId}`, ...more };
}

export function end(requestId: number, timeNs: bigint, status = 200): Row {
  return { type: REQUEST_END, requestId, timeNs, status };
}

/** Kept from batch to batch: making one costs more than filling it. Every value of every row is written. */
const CAPACITY = 8_192;
const WRITERS = {
  process: new ColumnWriter(PROCESS_COLUMNS, CAPACITY),
  caller: new ColumnWriter(CALLER_COLUMNS, CAPACITY),
  uprobe: new ColumnWriter(UPROBE_COLUMNS, CAPACITY),
  kprobe: new ColumnWriter(KPROBE_COLUMNS, CAPACITY),
};

const WIDE = new Set(
  [PROCESS_COLUMNS, UPROBE_COLUMNS, KPROBE_COLUMNS]
    .flatMap((columns) => Object.entries(columns))
    .filter(([, type]) => type === 'u64')
    .map(([name]) => name),
);

export function batchBytes(head: Head, rows: readonly Row[]): Uint8Array {
  const { kind, host = 'node-a', boot = 'boot-1', seq, sinceNs = 1n, uptoNs = 0n } = head;
  const processes = head.processes ?? [DEFAULT_PROCESS];
  const callers = head.callers ?? [];
  const events = WRITERS[kind];
  fill(WRITERS.process, processes);
  fill(WRITERS.caller, callers);
  fill(events, rows);
  return encodeEvents({
    v: 1,
    kind,
    host,
    boot,
    seq,
    fromNs: 0n,
    uptoNs,
    n: rows.length,
    ledger: { sinceNs, ...(head.ledger ?? { captured: {}, dropped: {} }) },
    processes: processes.length,
    callers: callers.length,
    cols: {
      ...WRITERS.process.take(),
      ...(kind === 'kprobe' && WRITERS.caller.take()),
      ...events.take(),
    },
  });
}

export function batch(head: Head, rows: readonly Row[]): EventBatch {
  return batchOf(batchBytes(head, rows));
}

export function batchOf(data: Uint8Array): EventBatch {
  const decoded = decodeEvents(data);
  if (typeof decoded === 'string') throw new Error(decoded);
  return decoded;
}

function fill(
  writer: { n: number; readonly columns: Readonly<Record<string, unknown>> },
  rows: readonly Row[],
): void {
  for (const row of rows) {
    for (const [name, column] of Object.entries(writer.columns)) {
      const value = row[name];
      if (column instanceof StringWriter) column.set(writer.n, String(value ?? ''));
      else put(column as Uint32Array, writer.n, value, WIDE.has(name));
    }
    writer.n++;
  }
}

function put(column: Uint32Array, row: number, value: Row[string] | undefined, wide: boolean): void {
  if (!wide) column[row] = Number(value ?? 0);
  else {
    const whole = BigInt(value ?? 0);
    column[2 * row] = Number(whole & 0xffff_ffffn);
    column[2 * row + 1] = Number(whole >> 32n);
  }
}
