// One socket event, with the request that caused it or the reason why there is none, as a row of the product.
import type { Columns } from '../../schemas/columns.ts';
import { type CALLER_COLUMNS, type KprobeBatch, SOCKET_CONNECT } from '../../schemas/events.ts';
import type { Flow } from '../../schemas/rows.ts';
import type { Attribution } from './attribution.ts';
import { communityId } from './community-id.ts';
import { errnoName } from './errno.ts';
import { hex16 } from './ids.ts';
import type { Process } from './join-state.ts';
import type { Request } from './request.ts';

/** A batch of socket events and what is the same for all of its rows. */
export interface SocketBatch {
  readonly host: string;
  readonly idPrefix: string;
  readonly rows: KprobeBatch['rows'];
  readonly processes: readonly Process[];
  readonly callers: readonly Caller[];
}

/** The function that made the call, as far as the stack shows it. */
export interface Caller {
  readonly function: string | null;
  readonly file: string | null;
  readonly line: number | null;
  readonly stacktrace: string | null;
  readonly handler: string | null;
}

/** The caller table of a batch; its rows refer to it by 1 + index. */
export function readCallers(columns: Columns<typeof CALLER_COLUMNS>, count: number): Caller[] {
  const callers: Caller[] = [];
  for (let i = 0; i < count; i++)
    callers.push({
      function: columns['code.function.name'].get(i) || null,
      file: columns['code.file.path'].get(i) || null,
      line: columns['code.line.number'][i]! || null,
      stacktrace: columns['code.stacktrace'].get(i) || null,
      handler: columns['flowtag.request.handler'].get(i) || null,
    });
  return callers;
}

export function flowRow(
  batch: SocketBatch,
  row: number,
  attribution: Attribution,
  request: Request | undefined,
): Flow {
  const { rows, idPrefix } = batch;
  const process = batch.processes[rows.process[row]!]!;
  const caller = batch.callers[rows.caller[row]! - 1];
  const localAddress = rows.localAddress.get(row);
  const localPort = rows.localPort[row]!;
  const peerAddress = rows.peerAddress.get(row);
  const peerPort = rows.peerPort[row]!;
  const errno = rows.errno[row]!;
  return {
    'flowtag.flow.id': idPrefix + hex16(rows.eventId, row),
    time: rows.timeNs.bigint(row),
    'host.name': batch.host,
    'process.pid': process.pid,
    'process.executable.name': process.name,
    'process.executable.path': process.path,
    'process.creation.time': process.createdNs,
    'service.name': process.service,
    'container.id': process.container,
    'k8s.namespace.name': process.namespace,
    'k8s.pod.name': process.podName,
    'k8s.pod.uid': process.podUid,
    'thread.id': rows.tid[row]!,
    'flowtag.go.goroutine.id': rows.goid.number(row) || null,
    'flowtag.request.id':
      request?.key ?? (attribution.hasRequest ? idPrefix + hex16(rows.requestId, row) : null),
    'http.request.method': request?.method ?? null,
    'url.path': request?.path ?? null,
    'url.query': request?.query ?? null,
    'http.route': null,
    'server.address': request?.serverAddress ?? null,
    'client.address': request?.clientAddress ?? null,
    'client.port': request?.clientPort ?? null,
    trace_id: request?.traceId ?? null,
    span_id: request?.spanId ?? null,
    'flowtag.request.start': request?.startNs ?? null,
    'code.function.name': caller?.function ?? null,
    'code.file.path': caller?.file ?? null,
    'code.line.number': caller?.line ?? null,
    'code.stacktrace': caller?.stacktrace ?? null,
    'flowtag.request.handler': (request && caller?.handler) ?? null,
    'network.transport': 'tcp',
    'network.type': rows.family[row] === 6 ? 'ipv6' : 'ipv4',
    'network.local.address': localAddress || null,
    'network.local.port': localPort,
    'network.peer.address': peerAddress || null,
    'network.peer.port': peerPort,
    'network.community_id': communityId(localAddress, localPort, peerAddress, peerPort),
    'flowtag.connection': rows.type[row] === SOCKET_CONNECT ? 'new' : 'reused',
    'flowtag.connection.id': rows.connectionId.bigint(row).toString(),
    'error.type': errno === 0 ? null : errnoName(errno),
    'flowtag.connect.duration': rows.durationNs.number(row) || null,
    'flowtag.attribution.verdict': attribution.verdict,
    'flowtag.attribution.depth': depthOf(attribution, rows.depth[row]!),
    'flowtag.attribution.reason': attribution.reason,
  };
}

function depthOf({ verdict }: Attribution, depth: number): number | null {
  if (verdict === 'none') return null;
  return verdict === 'exact' ? 0 : depth;
}
