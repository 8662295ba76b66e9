// Random histories for property tests: what happened on several hosts, and a stream that tells it as capture does:
// drain by drain, of each drain the request events before the socket events.
import fc from 'fast-check';
import {
  type EventBatch,
  FLAG,
  REQUEST_END,
  REQUEST_START,
  SOCKET_CLOSE,
  SOCKET_CONNECT,
  SOCKET_USE,
  VIA,
} from '../../../schemas/events.ts';
import { batchBytes, batchOf, type Row } from './batches.ts';

/** One request and what it caused, on one boot of one host. Ids are the same on all of them, on purpose. */
export interface RequestStory {
  readonly place: Place;
  readonly pid: number;
  readonly id: number;
  readonly sockets: readonly SocketStory[];
  /** How many of its socket events precede its end; undefined: it does not end. */
  readonly endAfter: number | undefined;
}

export interface SocketStory {
  readonly type: number;
  readonly via: number;
  readonly depth: number;
  readonly goid: number;
  /** 0: unknown. */
  readonly connection: number;
  /** Than capture. */
  readonly older: boolean;
  readonly inLoop: boolean;
  /** Its peer is the request's client. */
  readonly toClient: boolean;
}

export interface Place {
  readonly host: string;
  readonly boot: string;
}

/** One event, in the order in which they happened. */
export interface Told {
  readonly story: RequestStory;
  /** Of a socket event. */
  readonly socket: SocketStory | undefined;
  readonly timeNs: bigint;
  readonly row: Row;
}

export interface StreamMessage {
  readonly seq: number;
  readonly host: string;
  readonly batch: EventBatch;
  /** The batch as it is published. */
  readonly data: Uint8Array;
}

const PLACES: readonly Place[] = [
  { host: 'a', boot: '1' },
  { host: 'a', boot: '2' },
  { host: 'b', boot: '1' },
];

const PIDS = [10, 11];
const PROCESSES = PIDS.map((pid) => ({ 'process.pid': pid, 'service.name': `svc-${pid}` }));
/** Of every request. */
export const OWN_GOROUTINE = 1;

const place = fc.constantFrom(...PLACES);
const socket: fc.Arbitrary<SocketStory> = fc.record({
  type: fc.constantFrom(SOCKET_CONNECT, SOCKET_USE, SOCKET_CONNECT, SOCKET_USE, SOCKET_CLOSE),
  via: fc.constantFrom(VIA.direct, VIA.lineage, VIA.dial, VIA.pooled, VIA.thread, VIA.channel),
  depth: fc.nat({ max: 1 }),
  goid: fc.constantFrom(OWN_GOROUTINE, 2, 3),
  connection: fc.nat({ max: 3 }),
  older: fc.boolean(),
  inLoop: fc.boolean(),
  toClient: fc.boolean(),
});

export const stories: fc.Arbitrary<RequestStory[]> = fc
  .array(
    fc.record({
      place,
      pid: fc.constantFrom(...PIDS),
      sockets: fc.array(socket, { maxLength: 7 }),
      endAfter: fc.option(fc.nat({ max: 7 }), { nil: undefined }),
    }),
    { maxLength: 30 },
  )
  .map((list) => {
    const counts = new Map<Place, number>();
    return list.map((one) => {
      const id = (counts.get(one.place) ?? 0) + 1;
      counts.set(one.place, id);
      return { ...one, id };
    });
  });

/** Draws an order: of each story the start first, then the rest in its own order. */
export function tell(told: readonly RequestStory[], draws: readonly number[]): Told[] {
  const chains = told.map(chainOf).filter((chain) => chain.length > 0);
  const out: Told[] = [];
  for (let i = 0; chains.length > 0; i++) {
    const at = (draws[i % Math.max(1, draws.length)] ?? 0) % chains.length;
    out.push({ ...chains[at]!.shift()!, timeNs: BigInt(10 * (i + 1)) });
    if (chains[at]!.length === 0) chains.splice(at, 1);
  }
  return out;
}

export function pathOf({ place: { host, boot }, pid, id }: RequestStory): string {
  return `/${host}/${boot}/${pid}/${id}`;
}

/**
 * Drains end at the cuts; each publishes of every boot its request events and then its socket events. The watermark of
 * a batch is the end of its drain, or 0 when `timed` is off.
 */
export function toMessages(
  told: readonly Told[],
  cuts: ReadonlySet<number>,
  timed: boolean,
): StreamMessage[] {
  const messages: StreamMessage[] = [];
  const numbers = new Map<Place, number>();
  for (let from = 0, at = 1; at <= told.length; at++) {
    if (at < told.length && !cuts.has(at)) continue;
    const drained = told.slice(from, at);
    const uptoNs = timed ? told[at - 1]!.timeNs : 0n;
    for (const place of PLACES)
      for (const kind of ['uprobe', 'kprobe'] as const) {
        const rows = drained.filter(
          ({ story, socket }) => story.place === place && (socket !== undefined) === (kind === 'kprobe'),
        );
        if (rows.length === 0) continue;
        const seq = (numbers.get(place) ?? 0) + 1;
        numbers.set(place, seq);
        const { host, boot } = place;
        const head = { kind, host, boot, seq, uptoNs, processes: PROCESSES };
        const data = batchBytes(head, rows.map(rowOf));
        messages.push({ seq: messages.length + 1, host, batch: batchOf(data), data });
      }
    from = at;
  }
  return messages;
}

function rowOf({ row, story, timeNs }: Told): Row {
  return { ...row, timeNs, process: PIDS.indexOf(story.pid) };
}

function chainOf(story: RequestStory): Omit<Told, 'timeNs'>[] {
  const { id, endAfter } = story;
  const client = { clientAddress: '10.0.0.3', clientPort: 1_000 + id };
  const chain: Omit<Told, 'timeNs'>[] = story.sockets.map((socket, i) => ({
    story,
    socket,
    row: {
      type: socket.type,
      via: socket.via,
      depth: socket.depth,
      goid: socket.goid,
      connectionId: socket.connection,
      flags: (socket.older ? FLAG.predatesCapture : 0) | (socket.inLoop ? FLAG.inLoop : 0),
      eventId: id * 100 + i,
      requestId: id,
      localAddress: '10.0.0.1',
      peerAddress: socket.toClient ? client.clientAddress : '10.0.0.2',
      peerPort: client.clientPort,
    },
  }));
  const told = (type: number): Omit<Told, 'timeNs'> => ({
    story,
    socket: undefined,
    row: { type, requestId: id, path: pathOf(story), goid: OWN_GOROUTINE, ...client },
  });
  if (endAfter !== undefined) chain.splice(endAfter, 0, told(REQUEST_END));
  return [told(REQUEST_START), ...chain];
}
