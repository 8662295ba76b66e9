// What the socket events of one request say about each other: which connections have a flow already, which are
// remembered of a request within bounds, and whether it was over.
import { FLAG, SOCKET_USE, VIA } from '../../schemas/events.ts';
import type { SocketBatch } from './flow-row.ts';
import type { JoinCounters } from './join-counters.ts';
import type { Request } from './request.ts';

const MAX_CONNECTIONS = 256;

type SocketRows = SocketBatch['rows'];

/**
 * Whether it is the request's own connection, on which it is answered: one that is older than capture and whose
 * listener is gone looks like an outbound one.
 */
export function isInbound(request: Request, rows: SocketRows, row: number): boolean {
  return (
    rows.type[row] === SOCKET_USE &&
    (rows.flags[row]! & FLAG.predatesCapture) !== 0 &&
    rows.peerPort[row] === request.clientPort &&
    rows.peerAddress.get(row) === request.clientAddress?.split('%')[0] // Go writes the zone of a link-local address
  );
}

/**
 * Whether the event may be the work of a goroutine that has gone over to others since the request ended (a pool of
 * workers that the request's goroutine was the first to need): it began after the end, and either more than `lateNs`
 * after it or in code that makes such calls over and over. What began before the end is the request's, whenever it is
 * told; by time, because the ends of a drain are told before its socket events.
 */
export function hasOutlived(request: Request, rows: SocketRows, row: number, lateNs: bigint): boolean {
  // The request's own goroutine loses it at the end: what it has handed on it did before.
  if (!isHandedDown(rows.via[row]!, rows.depth[row]!) || rows.goid.number(row) === request.goid) return false;
  const lateByNs = rows.timeNs.bigint(row) - request.endNs;
  if (request.endNs === 0n || lateByNs <= 0n) return false;
  return lateByNs > lateNs || (rows.flags[row]! & FLAG.inLoop) !== 0;
}

/** Whether the event is the first of the request on its connection. One that connects always is. */
export function isFirstUse(request: Request, rows: SocketRows, row: number, counters: JoinCounters): boolean {
  const id = rows.connectionId.bigint(row);
  const { connections } = request;
  if (connections.includes(id)) return rows.type[row] !== SOCKET_USE;
  if (id === 0n) return true; // not known
  request.connections = newest(MAX_CONNECTIONS, connections, id);
  if (connections.length === MAX_CONNECTIONS) counters.connectionsForgotten++;
  return true;
}

/** The request came to the goroutine from another one; pooled at depth 0 is a call of the request's own. */
function isHandedDown(via: number, depth: number): boolean {
  return via === VIA.lineage || via === VIA.dial || via === VIA.channel || (via === VIA.pooled && depth > 0);
}

/** A new list of exact size: most requests have one or two, and there may be a million requests. */
function newest<T>(most: number, list: readonly T[], item: T): readonly T[] {
  return (list.length < most ? list : list.slice(1)).concat([item]);
}
