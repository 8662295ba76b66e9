// Between the batches and the bus: everything goes to the spool on disk first, from there in order to the publisher,
// which holds no more than it can have in flight. What the disk does not take waits in memory, behind what it took.
// Until there is a bus everything waits.
import { performance } from 'node:perf_hooks';
import type { Ledger } from '../../schemas/events.ts';
import { parseEventSubject } from '../../schemas/subjects.ts';
import type { Bus, Outbound, Publisher, PublisherStats } from '../runtime/bus.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { isWorthLogging, type Logger } from '../runtime/log.ts';
import { MessageQueue } from './message-queue.ts';
import { droppedOf, type Segment, Spool } from './spool.ts';
import { openSpoolFiles, type SpoolDirectory } from './spool-files.ts';

export interface OutboxOptions {
  /** Where the spool is. */
  readonly dir: string;
  /** Of the spool at most; 0: none, everything waits in memory. */
  readonly spoolBytes: number;
  /** Waiting in memory at most. When full the NEW batch is dropped. */
  readonly queueBytes: number;
  /** Start of this run of capture: tells its batches from those of earlier runs. */
  readonly sinceNs: bigint;
  readonly log: Logger;
  readonly segmentBytes?: number;
}

/** Small enough to be gone, when the bus is there, before the kernel writes it back. */
const SEGMENT_BYTES = 4 << 20;
/** With the publisher: what it can have in flight, and a little to go on with. */
const AHEAD_MESSAGES = 512;
const AHEAD_BYTES = 8 << 20;
const RETRY_MS = 1_000;
const NOTHING_SENT: PublisherStats = {
  queued: 0,
  queuedBytes: 0,
  acked: 0,
  ackedRows: 0,
  dropped: 0,
  droppedRows: 0,
  resent: 0,
};

export class Outbox {
  private publisher: Publisher | undefined;
  private readonly files: SpoolDirectory | undefined;
  private readonly spool: Spool | undefined;
  private readonly options: OutboxOptions;
  private readonly inFlight = new Map<Outbound, Segment | undefined>();
  private readonly waiting = new Set<() => void>();
  private readonly dropped = new Map<string, number>();
  private readonly memory = new MessageQueue();
  private droppedMessages = 0;
  private pumping = false;
  private closed = false;
  private problem: string | undefined;
  private retryAtMs = 0;
  private failures = 0;
  private lostSaid = 0;

  /** Throws FlowtagError SPOOL_IN_USE. A directory that cannot be used is a note, not an end. */
  static async open(options: OutboxOptions): Promise<Outbox> {
    if (options.spoolBytes === 0) return new Outbox(options);
    let files: SpoolDirectory | undefined;
    try {
      files = await openSpoolFiles(options.dir);
      return new Outbox(options, files);
    } catch (error) {
      files?.close();
      if (error instanceof FlowtagError) throw error;
      const outbox = new Outbox(options);
      outbox.onTrouble(error);
      return outbox;
    }
  }

  private constructor(options: OutboxOptions, files?: SpoolDirectory) {
    const { spoolBytes, sinceNs, segmentBytes = SEGMENT_BYTES } = options;
    this.options = options;
    this.files = files;
    this.spool = files && new Spool(files, String(sinceNs), { bytes: spoolBytes, segmentBytes });
    this.lostSaid = this.spool?.lostRows ?? 0;
  }

  /** From now on, and once: what waits goes first. */
  deliverTo(bus: Bus): void {
    if (this.closed) return;
    this.publisher = bus.publisher({
      queueBytes: Number.MAX_SAFE_INTEGER, // bounded here
      onDrop: ({ subject, rows, reason }) => this.count(reason, subject, rows),
      onSettled: (message) => this.onSettled(message),
    });
    if (this.spool?.isEmpty === false)
      this.options.log.info({ bytes: this.spool.bytes }, 'publishing what waited in the spool');
    this.pump();
  }

  /** Queues in order; never throws and never waits. */
  publish(message: Outbound): void {
    if (this.closed) this.drop('closed', message);
    else if (!this.keepOnDisk(message)) this.keepInMemory(message);
    this.pump();
  }

  /** True once nothing waits any more; false at the deadline, or at once where there was no bus yet. */
  flush(timeoutMs: number): Promise<boolean> {
    if (this.isEmpty || this.publisher === undefined) return Promise.resolve(this.isEmpty);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve(this.isEmpty);
      };
      const timer = setTimeout(done, timeoutMs);
      this.waiting.add(done);
    });
  }

  /** `queued`: in memory; what waits on disk is in `spoolBytes`. */
  get stats(): PublisherStats & { readonly spoolBytes: number } {
    const stats = this.publisher?.stats ?? NOTHING_SENT;
    const queued = stats.queued + this.memory.length;
    const queuedBytes = stats.queuedBytes + this.memory.bytes;
    return { ...stats, queued, queuedBytes, spoolBytes: this.spool?.bytes ?? 0 };
  }

  /** Rows of this run that will never be published, by reason and kind as in the ledger. */
  get undelivered(): Ledger['dropped'] {
    const lost = this.spool?.lostOf(String(this.options.sinceNs));
    return { ...Object.fromEntries(this.dropped), ...(lost && droppedOf(lost)) };
  }

  /** For the heartbeat. */
  get counters(): Record<string, number> {
    const { spool } = this;
    const { queued, ackedRows } = this.stats;
    return {
      queued,
      published_rows: ackedRows,
      spool_bytes: spool?.bytes ?? 0,
      spool_segments: spool?.segments ?? 0,
      spool_lost_rows: spool?.lostRows ?? 0,
      spool_damaged_bytes: spool?.damagedBytes ?? 0,
      spool_write_failures: this.failures,
    };
  }

  /** What the operator should know. */
  get note(): string | undefined {
    return this.problem && `the spool cannot be written (${this.problem}): events wait in memory`;
  }

  /** What is not acknowledged stays on disk for the next run; what is in memory alone is lost, and counted. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const message of this.publisher?.release() ?? [])
      if (this.inFlight.get(message) === undefined) this.drop('closed', message);
    for (let message = this.memory.shift(); message; message = this.memory.shift())
      this.drop('closed', message);
    for (const done of [...this.waiting]) done();
    const bytes = this.spool?.bytes ?? 0;
    if (bytes > 0)
      this.options.log.warn({ bytes }, 'not acknowledged yet: stays in the spool for the next start');
    this.files?.close();
  }

  private get isEmpty(): boolean {
    return this.inFlight.size === 0 && this.memory.length === 0 && this.spool?.isEmpty !== false;
  }

  private keepOnDisk(message: Outbound): boolean {
    const { spool } = this;
    const nowMs = performance.now();
    if (spool === undefined || nowMs < this.retryAtMs) return false;
    try {
      // First what came first.
      for (let first = this.memory.first; first; first = this.memory.first) {
        spool.append(first);
        this.memory.shift();
      }
      spool.append(message);
    } catch (error) {
      this.retryAtMs = nowMs + RETRY_MS;
      this.onTrouble(error);
      return false;
    }
    if (this.problem !== undefined) this.options.log.info('the spool can be written again');
    this.problem = undefined;
    this.sayLost(spool.lostRows);
    return true;
  }

  private keepInMemory(message: Outbound): void {
    const bytes = this.stats.queuedBytes + message.data.length;
    if (bytes > this.options.queueBytes) this.drop('queue_full', message);
    else this.memory.push(message);
  }

  private pump(): void {
    const { publisher } = this;
    if (this.pumping || publisher === undefined) return;
    this.pumping = true;
    while (!this.closed && hasRoom(publisher)) {
      const spooled = this.spool?.next();
      const message = spooled?.message ?? this.memory.shift();
      if (message === undefined) break;
      this.inFlight.set(message, spooled?.segment);
      publisher.publish(message);
    }
    this.pumping = false;
  }

  private onSettled(message: Outbound): void {
    const segment = this.inFlight.get(message);
    this.inFlight.delete(message);
    if (segment) this.spool?.settled(segment);
    this.pump();
    if (this.isEmpty) for (const done of [...this.waiting]) done();
  }

  private drop(reason: string, { subject, rows }: Outbound): void {
    this.count(reason, subject, rows);
    const fields = { reason, subject, dropped: ++this.droppedMessages };
    if (isWorthLogging(this.droppedMessages)) this.options.log.error(fields, 'batch dropped');
  }

  private count(reason: string, subject: string, rows: number): void {
    const name = `${reason}.${parseEventSubject(subject)?.kind ?? 'unknown'}`;
    this.dropped.set(name, (this.dropped.get(name) ?? 0) + rows);
  }

  private onTrouble(error: unknown): void {
    this.problem = (error as Error).message;
    this.failures++;
    const fields = { problem: this.problem, dir: this.options.dir, failures: this.failures };
    if (isWorthLogging(this.failures))
      this.options.log.error(fields, 'the spool cannot be written: events wait in memory');
  }

  private sayLost(rows: number): void {
    if (rows < 2 * this.lostSaid || rows === this.lostSaid) return;
    this.lostSaid = rows;
    this.options.log.error({ rows }, 'the spool is full: the oldest events went, and are counted');
  }
}

function hasRoom({ stats: { queued, queuedBytes } }: Publisher): boolean {
  return queued < AHEAD_MESSAGES && queuedBytes < AHEAD_BYTES;
}
