// Hosts that publish as capture does, and the truth about what they published.
import { FLAG, SOCKET_CLOSE, SOCKET_CONNECT, SOCKET_USE, VIA } from '../../../schemas/events.ts';
import { eventSubject } from '../../../schemas/subjects.ts';
import type { Outbound } from '../../../services/runtime/bus.ts';
import { batchBytes, end, type Row, start } from '../../unit/correlator/batches.ts';

export const DRAIN_MS = 20;
/** Short, so that a test sees requests that outlive it. */
export const WINDOW_MS = 1_000;

/** Drains from a request's start to its end; one in forty outlives the window. */
const SHORT_DRAINS = 6;
const LONG_DRAINS = 130;
const STARTS_PER_DRAIN = 3;
const BASE_NS = 1_700_000_000_000_000_000n;

interface Live {
  readonly id: number;
  readonly path: string;
  readonly endsAt: number;
  flows: number;
  /** Has used its pooled connection. */
  pooled: boolean;
}

export class Fleet {
  /** Flow id's second half and host, to the path of its request, or to the reason why it has none. */
  readonly flows = new Map<string, string>();
  /** Path of each ended request, to the flows it had caused by then. */
  readonly requests = new Map<string, number>();
  private readonly hosts: readonly Host[];

  constructor(names: readonly string[] = ['node-a', 'node b.example', 'nöde'], baseNs = BASE_NS) {
    this.hosts = names.map((name) => new Host(name, this, baseNs));
  }

  /** What all hosts publish at one tick; `last` ends everything that is open. */
  drain(tick: number, last = false): Outbound[] {
    return this.hosts.flatMap((host) => host.drain(tick, last));
  }
}

class Host {
  private readonly host: string;
  private readonly fleet: Fleet;
  private readonly baseNs: bigint;
  private seq = 0;
  private nextRequest = 1;
  private nextEvent = 1;
  private live: Live[] = [];
  private stragglers: Live[] = [];
  private kernel: Row[] = [];

  constructor(host: string, fleet: Fleet, baseNs: bigint) {
    this.host = host;
    this.fleet = fleet;
    this.baseNs = baseNs;
  }

  drain(tick: number, last: boolean): Outbound[] {
    const timeNs = this.baseNs + BigInt(tick * DRAIN_MS) * 1_000_000n;
    const user: Row[] = [];
    this.kernel = [];
    // Goroutines that outlive their request: what they do once is still its doing, but not among the flows of its row;
    // of what they do over and over nobody knows.
    for (const request of this.stragglers) {
      const isOnce = request.id % 2 === 0;
      const more = { type: SOCKET_USE, goid: request.id, flags: isOnce ? 0 : FLAG.inLoop };
      this.socket(request.id, isOnce ? request.path : 'request_ended', timeNs, more);
    }
    this.stragglers = [];
    for (let i = 0; i < STARTS_PER_DRAIN && !last; i++) user.push(this.begin(tick, timeNs));
    for (const request of this.live) {
      if ((request.id + tick) % 3 !== 0 && request.endsAt !== tick) continue;
      const { id, path, pooled } = request;
      const type = tick % 2 === 0 ? SOCKET_CONNECT : SOCKET_USE;
      const connectionId = type === SOCKET_USE ? id : 0;
      const gives = type === SOCKET_CONNECT || !pooled;
      this.socket(id, gives ? path : undefined, timeNs, { type, goid: id, connectionId });
      if (gives) request.flows++;
      if (type === SOCKET_USE) request.pooled = true;
    }
    for (const request of this.live.filter(({ endsAt }) => last || endsAt <= tick)) {
      user.push(end(request.id, timeNs, 200));
      this.fleet.requests.set(request.path, request.flows);
      if (!last) this.stragglers.push(request);
    }
    this.live = this.live.filter(({ endsAt }) => !last && endsAt > tick);
    this.socket(0, 'no_request', timeNs, { type: SOCKET_CONNECT });
    if (tick % 10 === 0) this.socket(2 ** 40 + tick, 'lost_event', timeNs, { type: SOCKET_CONNECT });
    this.kernel.push({ type: SOCKET_CLOSE, eventId: 2 ** 41 + tick, timeNs });
    return [this.message('uprobe', user, timeNs), this.message('kprobe', this.kernel, timeNs)];
  }

  private begin(tick: number, timeNs: bigint): Row {
    const id = this.nextRequest++;
    const path = `/${this.host}/${id}`;
    const endsAt = tick + (id % 40 === 0 ? LONG_DRAINS : SHORT_DRAINS);
    this.live.push({ id, path, endsAt, flows: 0, pooled: false });
    return start(id, timeNs, { path });
  }

  /** `truth`: what its flow says, undefined when it gives none. */
  private socket(requestId: number, truth: string | undefined, timeNs: bigint, more: Row): void {
    const eventId = this.nextEvent++;
    const via = requestId === 0 ? VIA.none : VIA.lineage;
    const ends = {
      localAddress: '10.0.0.7',
      localPort: eventId & 0xffff,
      peerAddress: '10.0.0.9',
      peerPort: 80,
    };
    this.kernel.push({ eventId, requestId, via, depth: 1, timeNs, family: 4, ...ends, ...more });
    if (truth !== undefined) this.fleet.flows.set(`${this.host} ${eventId}`, truth);
  }

  private message(kind: 'uprobe' | 'kprobe', rows: readonly Row[], uptoNs: bigint): Outbound {
    const { host } = this;
    const seq = ++this.seq;
    return {
      subject: eventSubject(kind, host),
      schema: `${kind}.v1`,
      data: batchBytes({ kind, host, seq, uptoNs }, rows),
      messageId: `${host}.boot-1.${seq}`,
      rows: rows.length,
    };
  }
}
