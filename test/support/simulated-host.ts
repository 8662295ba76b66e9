// A host without BPF: publishes a story whose truth is known through capture's own outbox, and keeps that truth on
// disk. Each flow is a request start, a connection that it opens, and the request's end.
//
// The truth file, `<dataDir>/truth.jsonl`, is written without a buffer, so that it survives kill -9; a line each:
//   {"run":"<sinceNs>","host":"…","boot":"…"}   a process began
//   {"first":7,"count":3}                       about to append one drain: flows with event ids first … first+count-1
//   {"appended":6}                              it is in the outbox: events so far in this run (two a request, one a flow)
// The process was killed in the middle of a drain that has no `appended`: it may be in the outbox, whole, in part or
// not at all.
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SOCKET_CONNECT, VIA } from '../../schemas/events.ts';
import { encodeToken, eventSubject } from '../../schemas/subjects.ts';
import { Outbox } from '../../services/capture/outbox.ts';
import type { Bus } from '../../services/runtime/bus.ts';
import type { Logger } from '../../services/runtime/log.ts';
import { batchBytes, end, type Row, start } from '../unit/correlator/batches.ts';

export interface SimulatedHostOptions {
  readonly host: string;
  readonly boot?: string;
  readonly flowsPerSecond: number;
  /** Spool and truth file. */
  readonly dataDir: string;
  readonly spoolBytes?: number;
  readonly segmentBytes?: number;
  readonly log: Logger;
}

/** What was appended by all runs so far, as the truth file says it. */
export interface Truth {
  /** `<host> <event id>` to the path of its request. */
  readonly flows: ReadonlyMap<string, string>;
  /** Those that may have been appended, or not. */
  readonly uncertain: ReadonlyMap<string, string>;
  /** Of each run, by `sinceNs`. */
  readonly events: ReadonlyMap<string, number>;
}

const DRAIN_MS = 20;
const MOST_FLOWS = 2_000; // of a drain: two rows each have to fit into a batch
const QUEUE_BYTES = 64 << 20;
const SPOOL_BYTES = 1 << 30;
const IDS_PER_MS = 1_000n; // ids of a later run are above those of all runs before
export const PEER = { address: '10.0.0.9', port: 5432 } as const;

export function truthFile(dataDir: string): string {
  return join(dataDir, 'truth.jsonl');
}

export function pathOfFlow(host: string, eventId: number): string {
  return `/sim/${host}/${eventId}`;
}

export class SimulatedHost {
  readonly outbox: Outbox;
  private readonly options: SimulatedHostOptions;
  private readonly boot: string;
  private readonly sinceNs: bigint;
  private readonly fd: number;
  private readonly timer: NodeJS.Timeout;
  private readonly beganMs = performance.now();
  private nextId: number;
  private seq = 0;
  private flows = 0;
  private readonly captured = { request_start: 0, request_end: 0, socket: 0 };

  static async start(bus: Bus, options: SimulatedHostOptions): Promise<SimulatedHost> {
    mkdirSync(options.dataDir, { recursive: true });
    const sinceNs = BigInt(Date.now()) * 1_000_000n;
    const outbox = await Outbox.open(bus, {
      dir: join(options.dataDir, 'spool'),
      spoolBytes: options.spoolBytes ?? SPOOL_BYTES,
      queueBytes: QUEUE_BYTES,
      ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
      sinceNs,
      log: options.log,
    });
    return new SimulatedHost(outbox, sinceNs, options);
  }

  private constructor(outbox: Outbox, sinceNs: bigint, options: SimulatedHostOptions) {
    this.outbox = outbox;
    this.options = options;
    this.sinceNs = sinceNs;
    this.boot = options.boot ?? 'boot-1';
    this.nextId = Number((sinceNs / 1_000_000n) * IDS_PER_MS);
    this.fd = openSync(truthFile(options.dataDir), 'a');
    this.say({ run: String(sinceNs), host: options.host, boot: this.boot });
    this.timer = setInterval(() => this.drain(), DRAIN_MS);
  }

  /** Flows appended by this run. */
  get appended(): number {
    return this.flows;
  }

  /** Ends the story and waits for the bus; true: everything was acknowledged. */
  async stop(flushMs: number): Promise<boolean> {
    clearInterval(this.timer);
    this.publish('kprobe', []); // the final ledger
    const flushed = await this.outbox.flush(flushMs);
    this.outbox.close();
    closeSync(this.fd);
    return flushed;
  }

  private drain(): void {
    const due = Math.floor(((performance.now() - this.beganMs) * this.options.flowsPerSecond) / 1_000);
    const count = Math.min(due - this.flows, MOST_FLOWS);
    if (count <= 0) return;
    const first = this.nextId;
    const ids = Array.from({ length: count }, (_, i) => first + i);
    const timeNs = BigInt(Date.now()) * 1_000_000n;
    this.nextId += count;
    this.say({ first, count });
    this.flows += count;
    const path = (id: number): string => pathOfFlow(this.options.host, id);
    const requests = ids.flatMap((id) => [start(id, timeNs, { path: path(id) }), end(id, timeNs)]);
    this.captured.request_start += count;
    this.captured.request_end += count;
    // As capture does: of one drain the request facts, ends included, before the socket facts.
    this.publish('uprobe', requests);
    this.captured.socket += count;
    this.publish(
      'kprobe',
      ids.map((id) => connection(id, timeNs)),
    );
    this.say({ appended: 3 * this.flows });
  }

  private publish(kind: 'uprobe' | 'kprobe', rows: readonly Row[]): void {
    const { host } = this.options;
    const { boot, sinceNs, captured } = this;
    const ledger = { captured, dropped: this.outbox.undelivered };
    const seq = ++this.seq;
    const uptoNs = BigInt(Date.now()) * 1_000_000n;
    this.outbox.publish({
      subject: eventSubject(kind, host),
      schema: `${kind}.v1`,
      data: batchBytes({ kind, host, boot, seq, sinceNs, uptoNs, ledger }, rows),
      messageId: `${encodeToken(host)}.${boot}.${sinceNs}.${seq}`,
      rows: rows.length,
    });
  }

  private say(fact: object): void {
    writeSync(this.fd, `${JSON.stringify(fact)}\n`);
  }
}

export function readTruth(dataDir: string): Truth {
  const flows = new Map<string, string>();
  const uncertain = new Map<string, string>();
  const events = new Map<string, number>();
  let drain: [string, string][] = [];
  let run = '';
  let host = '';
  const lines = readFileSync(truthFile(dataDir), 'utf8').split('\n').slice(0, -1);
  for (const line of lines) {
    const fact = JSON.parse(line);
    if (fact.run !== undefined) {
      for (const [key, path] of drain.splice(0)) uncertain.set(key, path);
      ({ run, host } = fact);
      events.set(run, 0);
    } else if (fact.first !== undefined) {
      const ids = Array.from({ length: fact.count }, (_, i) => fact.first + i);
      drain = ids.map((id) => [`${host} ${id}`, pathOfFlow(host, id)]);
    } else {
      events.set(run, fact.appended);
      for (const [key, path] of drain.splice(0)) flows.set(key, path);
    }
  }
  for (const [key, path] of drain) uncertain.set(key, path);
  return { flows, uncertain, events };
}

function connection(eventId: number, timeNs: bigint): Row {
  return {
    ...{ type: SOCKET_CONNECT, eventId, requestId: eventId, timeNs, via: VIA.direct, family: 4 },
    ...{ localAddress: '10.0.0.7', localPort: 1_024 + (eventId % 60_000) },
    ...{ peerAddress: PEER.address, peerPort: PEER.port },
  };
}
