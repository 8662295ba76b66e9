// What the join remembers of one inbound request: plain objects of one shape, shared by no two boots.
import type { Columns } from '../../schemas/columns.ts';
import type { PROCESS_COLUMNS, UprobeBatch } from '../../schemas/events.ts';
import type { BootState } from './boot-state.ts';
import { hex16 } from './ids.ts';

export interface Process {
  readonly pid: number;
  readonly name: string | null;
  readonly path: string | null;
  readonly createdNs: bigint | null;
  readonly service: string | null;
  readonly container: string | null;
}

/** The facts of a request's start. */
export interface RequestFacts {
  /** Unique on its boot, and rising. */
  readonly id: number;
  /** `flowtag.request.id`. */
  readonly key: string;
  readonly process: Process;
  readonly startNs: bigint;
  readonly goid: number | null;
  readonly method: string | null;
  readonly path: string | null;
  readonly query: string | null;
  readonly serverAddress: string | null;
  readonly clientAddress: string | null;
  readonly clientPort: number | null;
  readonly traceId: string | null;
  readonly spanId: string | null;
}

/** The facts and what has happened since. */
export interface RequestRecord extends RequestFacts {
  /** Position of the start in the stream: message, then row. */
  readonly order: number;
  /** 0n while it is open. */
  endNs: bigint;
  /** As in the events: HTTP status, 0 unknown, -1 aborted. */
  status: number;
  flows: number;
  /** Its row has been given out. */
  reported: boolean;
}

export interface Request extends RequestRecord {
  readonly boot: BootState;
  /** Taken over from a checkpoint, and its flows counted there. */
  carried: boolean;
  /** Fell off; still in some queue. */
  gone: boolean;
}

/** Row `row` of a batch as a request that has just begun. */
export function beginRequest(
  batch: UprobeBatch,
  row: number,
  processes: readonly Process[],
  boot: BootState,
  order: number,
): Request {
  const rows = batch.rows;
  return {
    id: rows.requestId.number(row),
    key: boot.idPrefix + hex16(rows.requestId, row),
    process: processes[rows.process[row]!]!,
    startNs: rows.timeNs.bigint(row),
    goid: rows.goid.number(row) || null,
    method: rows.method.get(row) || null,
    path: rows.path.get(row) || null,
    query: rows.query.get(row) || null,
    serverAddress: rows.serverAddress.get(row) || null,
    clientAddress: rows.clientAddress.get(row) || null,
    clientPort: rows.clientPort[row]! || null,
    traceId: rows.traceId.get(row) || null,
    spanId: rows.spanId.get(row) || null,
    order,
    endNs: 0n,
    status: 0,
    flows: 0,
    reported: false,
    boot,
    carried: false,
    gone: false,
  };
}

/** A request out of a checkpoint; of the same shape as one that has just begun. */
export function carryRequest(record: RequestRecord, boot: BootState): Request {
  return { ...recordOf(record), boot, carried: true, gone: false };
}

/** What a checkpoint keeps of a request. */
export function recordOf(request: RequestRecord): RequestRecord {
  const { id, key, process, startNs, goid, method, path, query, serverAddress } = request;
  const { clientAddress, clientPort, traceId, spanId, order, endNs, status, flows, reported } = request;
  return {
    id,
    key,
    process,
    startNs,
    goid,
    method,
    path,
    query,
    serverAddress,
    clientAddress,
    clientPort,
    traceId,
    spanId,
    order,
    endNs,
    status,
    flows,
    reported,
  };
}

/** The process table of a batch; its rows refer to it by index. */
export function readProcesses(columns: Columns<typeof PROCESS_COLUMNS>, count: number): Process[] {
  const processes: Process[] = [];
  for (let i = 0; i < count; i++)
    processes.push({
      pid: columns['process.pid'][i]!,
      name: columns['process.executable.name'].get(i) || null,
      path: columns['process.executable.path'].get(i) || null,
      createdNs: columns['process.creation.time'].bigint(i) || null,
      service: columns['service.name'].get(i) || null,
      container: columns['container.id'].get(i) || null,
    });
  return processes;
}
