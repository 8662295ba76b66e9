// What one simulated host does, drain by drain, and what must be stored of it: both follow from the same plan, so the
// truth owes nothing to the code that joins, publishes or stores. Pure.
import { REQUEST_END, REQUEST_START, SOCKET_CONNECT, SOCKET_USE, VIA } from '../../schemas/events.ts';
import type { Row } from '../unit/correlator/batches.ts';
import type { Truth } from './truth.ts';

/** Each causes a flow of every kind in `SOCKETS`; beside them a drain has one connection that no request caused. */
const STARTS_PER_DRAIN = 4;

/** Drains that a request lives; one in fifty is a long poll. */
const SHORT_DRAINS = 3;
const LONG_DRAINS = 60;
const MS = 1_000_000n;
const SECONDS_BEFORE = 3_600n;
const POOL_SIZE = 8;
/** Ids of one run of capture: no two runs of one boot may share one. */
const IDS_PER_RUN = 10_000_000;

const SERVICES = ['orders', 'payments-ü'];
const CALLER = { name: 'main.(*Orders).call', file: '/src/orders/call.go', line: 42 };
export const CALLERS: readonly Row[] = [
  { 'code.function.name': CALLER.name, 'code.file.path': CALLER.file, 'code.line.number': CALLER.line },
];

/** What a request does to the network, one after the other, one in each drain of its life; the rest in the last. */
const SOCKETS = [
  { type: SOCKET_CONNECT, via: VIA.direct, depth: 0, verdict: 'exact', connection: 'new', goroutine: 0 },
  { type: SOCKET_CONNECT, via: VIA.lineage, depth: 2, verdict: 'lineage', connection: 'new', goroutine: 1 },
  { type: SOCKET_USE, via: VIA.pooled, depth: 0, verdict: 'pooled', connection: 'reused', goroutine: 2 },
  { type: SOCKET_CONNECT, via: VIA.dial, depth: 1, verdict: 'lineage', connection: 'new', goroutine: 3 },
] as const;
type Socket = (typeof SOCKETS)[number];

interface Live {
  readonly id: number;
  readonly startNs: bigint;
  readonly startDrain: number;
  readonly endDrain: number;
  done: number;
}

export interface Drained {
  readonly uprobe: readonly Row[];
  readonly kprobe: readonly Row[];
  readonly truth: readonly Truth[];
}

export class Story {
  readonly processes: readonly Row[];
  private readonly host: string;
  private readonly firstId: number;
  private live: Live[] = [];
  private drain = 0;
  private requests = 0;
  private events = 0;

  /** `run`: how often capture was started on this host since it booted. */
  constructor(host: string, run: number, nowNs: bigint) {
    this.host = host;
    this.firstId = run * IDS_PER_RUN;
    this.processes = SERVICES.map((service, n) => ({
      'process.pid': 4_000 + n,
      'process.executable.name': service,
      'process.executable.path': `/usr/bin/${service}`,
      'process.creation.time': nowNs - SECONDS_BEFORE * 1_000n * MS,
      'service.name': service,
    }));
  }

  /** `last`: everything that is open ends. */
  next(nowNs: bigint, last: boolean): Drained {
    const drain = this.drain++;
    const kprobe: Row[] = [];
    const truth: Truth[] = [];
    const starts = last ? [] : Array.from({ length: STARTS_PER_DRAIN }, () => this.begin(drain, nowNs));
    const ending = this.live.filter(({ endDrain }) => last || endDrain <= drain);
    for (const request of this.live) {
      const due = ending.includes(request)
        ? SOCKETS.length
        : Math.min(SOCKETS.length, 1 + drain - request.startDrain);
      while (request.done < due) this.socket(request, SOCKETS[request.done++], nowNs, kprobe, truth);
    }
    this.socket(undefined, undefined, nowNs, kprobe, truth);
    this.live = this.live.filter((request) => !ending.includes(request));
    for (const request of ending) truth.push(this.finished(request, nowNs));
    const uprobe = [
      ...starts.map((request) => this.startRow(request)),
      ...ending.map((r) => this.endRow(r, nowNs)),
    ];
    return { uprobe, kprobe, truth };
  }

  private begin(drain: number, nowNs: bigint): Live {
    const id = this.firstId + ++this.requests;
    const lives = id % 50 === 0 ? LONG_DRAINS : SHORT_DRAINS;
    const request = { id, startNs: nowNs - 5n * MS, startDrain: drain, endDrain: drain + lives, done: 0 };
    this.live.push(request);
    return request;
  }

  private startRow({ id, startNs }: Live): Row {
    return {
      type: REQUEST_START,
      requestId: id,
      timeNs: startNs,
      process: id % SERVICES.length,
      goid: 10 * id,
      method: 'GET',
      path: pathOf(id),
      clientAddress: '192.0.2.9',
      clientPort: 1_024 + (id % 60_000),
      traceId: traceOf(id),
    };
  }

  private endRow({ id }: Live, nowNs: bigint): Row {
    return {
      type: REQUEST_END,
      requestId: id,
      timeNs: nowNs,
      process: id % SERVICES.length,
      status: 200 + (id % 3),
    };
  }

  private finished({ id, startNs }: Live, nowNs: bigint): Truth {
    return {
      table: 'requests',
      host: this.host,
      id: hex(id),
      facts: [
        nowNs,
        4_000 + (id % SERVICES.length),
        SERVICES[id % SERVICES.length]!,
        'GET',
        pathOf(id),
        startNs,
        nowNs - startNs,
        200 + (id % 3),
      ].join(' '),
      joined: String(SOCKETS.length),
    };
  }

  private socket(
    request: Live | undefined,
    socket: Socket | undefined,
    nowNs: bigint,
    kprobe: Row[],
    truth: Truth[],
  ): void {
    const eventId = this.firstId + ++this.events;
    const id = request?.id ?? 0;
    const process = (request ? id : eventId) % SERVICES.length;
    const timeNs = nowNs - 1n * MS;
    const goid = request && socket ? 10 * id + socket.goroutine : 7;
    const connectionId = socket?.type === SOCKET_USE ? 1 + (id % POOL_SIZE) : 1_000 + eventId;
    const localPort = 1_024 + (connectionId % 60_000);
    kprobe.push({
      type: socket?.type ?? SOCKET_CONNECT,
      eventId,
      requestId: id,
      timeNs,
      process,
      tid: 5_000 + process,
      goid,
      via: socket?.via ?? VIA.none,
      depth: socket?.depth ?? 0,
      connectionId,
      family: 4,
      localAddress: '10.0.0.7',
      localPort,
      peerAddress: '10.0.0.9',
      peerPort: 5_432,
      caller: 1,
    });
    truth.push({
      table: 'flows',
      host: this.host,
      id: hex(eventId),
      facts: [
        timeNs,
        4_000 + process,
        SERVICES[process]!,
        5_000 + process,
        goid,
        request ? hex(id) : hex(0),
        localPort,
        connectionId,
        socket?.connection ?? 'new',
        CALLER.name,
      ].join(' '),
      joined: [
        request ? pathOf(id) : '-',
        request ? traceOf(id) : '0'.repeat(32),
        request?.startNs ?? 0,
        socket?.verdict ?? 'none',
        socket ? socket.depth : 65_535,
        socket ? '-' : 'no_request',
      ].join(' '),
    });
  }
}

function pathOf(id: number): string {
  return `/v1/größe/${id}`;
}

function traceOf(id: number): string {
  return `7${id.toString(16).padStart(31, '0')}`;
}

/** As the second half of an id in the store. */
export function hex(id: number): string {
  return id.toString(16).padStart(16, '0');
}
