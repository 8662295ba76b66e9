// Random histories for property tests: what happened on several hosts, and a stream that tells it in an order that
// capture could have published.
import fc from 'fast-check';
import { type EventBatch, SOCKET_CLOSE, SOCKET_CONNECT, SOCKET_USE, VIA } from '../../../schemas/events.ts';
import { batch, type Row } from './batches.ts';

/** One request and what it caused, on one boot of one host. Ids are the same on all of them, on purpose. */
export interface RequestStory {
  readonly place: Place;
  readonly pid: number;
  readonly id: number;
  readonly sockets: readonly { readonly type: number; readonly via: number }[];
  /** How many of its socket events precede its end in the stream; undefined: it does not end. */
  readonly endAfter: number | undefined;
}

export interface Place {
  readonly host: string;
  readonly boot: string;
}

/** One event as the stream tells it. */
export interface Told {
  readonly kind: 'uprobe' | 'kprobe';
  readonly story: RequestStory;
  readonly row: Row;
}

export interface StreamMessage {
  readonly seq: number;
  readonly host: string;
  readonly batch: EventBatch;
}

const PLACES: readonly Place[] = [
  { host: 'a', boot: '1' },
  { host: 'a', boot: '2' },
  { host: 'b', boot: '1' },
];

const PIDS = [10, 11];

const place = fc.constantFrom(...PLACES);
const socket = fc.record({
  type: fc.constantFrom(SOCKET_CONNECT, SOCKET_USE, SOCKET_CONNECT, SOCKET_USE, SOCKET_CLOSE),
  via: fc.constantFrom(VIA.direct, VIA.lineage, VIA.dial, VIA.pooled, VIA.thread),
});

export const stories: fc.Arbitrary<RequestStory[]> = fc
  .array(
    fc.record({
      place,
      pid: fc.constantFrom(...PIDS),
      sockets: fc.array(socket, { maxLength: 5 }),
      endAfter: fc.option(fc.nat({ max: 5 }), { nil: undefined }),
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
    out.push(chains[at]!.shift()!);
    if (chains[at]!.length === 0) chains.splice(at, 1);
  }
  return out;
}

export function pathOf({ place: { host, boot }, pid, id }: RequestStory): string {
  return `/${host}/${boot}/${pid}/${id}`;
}

/**
 * Batches of the events of one boot and kind that follow each other, cut at the draws. Time is the position in the
 * stream; the watermark of a batch is the time of its last row, or 0 when `timed` is off.
 */
export function toMessages(
  told: readonly Told[],
  cuts: ReadonlySet<number>,
  timed: boolean,
): StreamMessage[] {
  const messages: StreamMessage[] = [];
  const numbers = new Map<Place, number>();
  let from = 0;
  for (let at = 1; at <= told.length; at++) {
    const first = told[from]!;
    const same =
      at < told.length && told[at]!.kind === first.kind && told[at]!.story.place === first.story.place;
    if (same && !cuts.has(at)) continue;
    const { host, boot } = first.story.place;
    const seq = (numbers.get(first.story.place) ?? 0) + 1;
    numbers.set(first.story.place, seq);
    const uptoNs = timed ? timeOf(at - 1) : 0n;
    const rows = told.slice(from, at).map(({ row, story }, i) => {
      return { ...row, timeNs: timeOf(from + i), process: PIDS.indexOf(story.pid) };
    });
    const processes = PIDS.map((pid) => ({ 'process.pid': pid, 'service.name': `svc-${pid}` }));
    messages.push({
      seq: messages.length + 1,
      host,
      batch: batch({ kind: first.kind, host, boot, seq, uptoNs, processes }, rows),
    });
    from = at;
  }
  return messages;
}

function timeOf(position: number): bigint {
  return BigInt(10 * (position + 1));
}

function chainOf(story: RequestStory): Told[] {
  const { id, sockets, endAfter } = story;
  const chain: Told[] = sockets.map(({ type, via }, i) => ({
    kind: 'kprobe',
    story,
    row: {
      type,
      via,
      depth: 1,
      eventId: id * 100 + i,
      requestId: id,
      localAddress: '10.0.0.1',
      peerAddress: '10.0.0.2',
    },
  }));
  const told = (type: number): Told => ({
    kind: 'uprobe',
    story,
    row: { type, requestId: id, path: pathOf(story) },
  });
  if (endAfter !== undefined) chain.splice(endAfter, 0, told(2));
  return [told(1), ...chain];
}
