// What the socket events of one request say about each other: which connections have a flow already, and which of
// its goroutines have outlived it. Both are remembered of a request, within bounds.
import { FLAG, SOCKET_USE, VIA } from '../../schemas/events.ts';
import type { SocketBatch } from './flow-row.ts';
import type { JoinCounters } from './join-counters.ts';
import type { Request } from './request.ts';

const MAX_CONNECTIONS = 256;
const MAX_GOROUTINES = 32;

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
 * workers that the request's goroutine was the first to need): it began more than `lateNs` after the end, or its
 * goroutine had worked for the request before the end and still does something that nobody handed it. What began before the end is the
 * request's, whenever it is told; by time, because the ends of a drain are told before its socket events.
 */
export function hasOutlived(
  request: Request,
  rows: SocketRows,
  row: number,
  lateNs: bigint,
  counters: JoinCounters,
): boolean {
  const goid = rows.goid.number(row);
  // The request's own goroutine loses it at the end: what it has handed on it did before.
  if (!isHandedDown(rows.via[row]!, rows.depth[row]!) || goid === request.goid) return false;
  const timeNs = rows.timeNs.bigint(row);
  const { endNs, goroutines } = request;
  if (endNs > 0n && timeNs > endNs) {
    if (timeNs - endNs > lateNs) return true;
    return !isToldOf(rows.via[row]!) && goroutines.some(([id, sinceNs]) => id === goid && sinceNs <= endNs);
  }
  if (goid !== 0 && !goroutines.some(([id]) => id === goid)) {
    request.goroutines = newest(MAX_GOROUTINES, goroutines, [goid, timeNs]);
    if (goroutines.length === MAX_GOROUTINES) counters.goroutinesForgotten++;
  }
  return false;
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

/** The kernel saw the work handed over: a dial that was asked for before it began, a job out of a channel. */
function isToldOf(via: number): boolean {
  return via === VIA.dial || via === VIA.channel;
}

/** The request came to the goroutine from another one; pooled at depth 0 is a call of the request's own. */
function isHandedDown(via: number, depth: number): boolean {
  return via === VIA.lineage || via === VIA.dial || via === VIA.channel || (via === VIA.pooled && depth > 0);
}

/** A new list of exact size: most requests have one or two, and there may be a million requests. */
function newest<T>(most: number, list: readonly T[], item: T): readonly T[] {
  return (list.length < most ? list : list.slice(1)).concat([item]);
}
