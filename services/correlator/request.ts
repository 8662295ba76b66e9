// What the join remembers of one inbound request: plain objects, shared by no two boots.
import type { Columns } from '../../schemas/columns.ts';
import type { PROCESS_COLUMNS, UprobeBatch } from '../../schemas/events.ts';
import type { BootState } from './boot-state.ts';
import { hex16 } from './ids.ts';
import type { CarriedRequest, Process, RequestRecord } from './join-state.ts';

export interface Request extends RequestRecord {
  readonly boot: BootState;
  /** Taken over from a checkpoint, and its flows counted there. */
  carried: boolean;
  /** Fell off; still in some queue. */
  gone: boolean;
}

/** Shared by all requests that have used nothing yet. */
const NONE: readonly never[] = [];

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
    connections: NONE,
    reported: false,
    boot,
    carried: false,
    gone: false,
  };
}

/** A request out of a checkpoint. */
export function carryRequest(record: CarriedRequest, boot: BootState): Request {
  return { ...record, boot, carried: true, gone: false };
}

/** What a checkpoint keeps of a request; `index` is that of its boot there. */
export function recordOf(request: Request, index: number): CarriedRequest {
  const { boot, carried, gone, ...record } = request;
  return { ...record, boot: index };
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
      namespace: columns['k8s.namespace.name'].get(i) || null,
      podName: columns['k8s.pod.name'].get(i) || null,
      podUid: columns['k8s.pod.uid'].get(i) || null,
    });
  return processes;
}
