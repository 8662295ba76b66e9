// Every message of a stream once and in order, from a sequence on, whatever happens to the server or the link.
//
// An own pull consumer without acknowledgements, whose delivery count must grow by one with each message. On a gap, on
// silence or after a reconnect it is thrown away and made anew behind the last message that arrived.
import { setTimeout as sleep } from 'node:timers/promises';
import { nanos, nuid } from 'nats';
import { z } from 'zod';
import type { Connection } from './bus-connection.ts';
import { callJetStream, JetStreamError, type Request, readStream } from './bus-jetstream.ts';
import type { BusMessage } from './bus-message.ts';
import { PullSession, type PullTimes, RESUMED } from './bus-pull.ts';
import { settledWithin } from './deadline.ts';
import { BusError } from './errors.ts';
import { isWorthLogging, type Logger, Recurrence } from './log.ts';

export interface ReaderOptions extends PullTimes {
  readonly stream: string;
  readonly filter: string;
  readonly startSeq: number;
  /** Never sees a gap or a repeat. Must not throw: a message whose handling throws is logged and passed over. */
  readonly onMessage: (message: BusMessage) => void;
  readonly log: Logger;
  /**
   * The stream discarded these sequences unread; with a filter, those of other subjects are among them. Exact at the
   * start and after an outage or a pause; looked for once a second while the reader is behind.
   */
  readonly onSkipped?: (fromSeq: number, toSeq: number) => void;
  /**
   * Looked for every 10 s while nothing comes: up to this sequence there is nothing of the filter that was not given to
   * `onMessage`. What the stream discards of it later is no loss.
   */
  readonly onPassed?: (seq: number) => void;
  /** The stream's sequences began anew (it was replaced or lost its end): the reader has stopped. */
  readonly onReplaced?: (error: BusError) => void;
  /** Asked before each pull and, while paused, five times a second: the same as pause() and resume(). */
  readonly paused?: () => boolean;
}

export interface Reader {
  /** Sequence of the last message given to `onMessage`; `startSeq - 1` before the first. */
  readonly lastSeq: number;
  /** Messages of the filter behind the last that arrived, as the server said with it. */
  readonly pending: number;
  /** How often the consumer had to be made anew. */
  readonly recreated: number;
  close(): Promise<void>;
  /** No call of `onMessage` from now until resume(). What was asked for before waits in memory (256 messages). */
  pause(): void;
  resume(): void;
}

const DISCARD_CHECK_MS = 1_000;
const PASS_CHECK_MS = 10_000;
const PASS_QUIET_MS = 150;
const INACTIVE_MS = 30_000;
const RETRY_MS = 500;
const CLOSE_MS = 1_000;

const consumerInfo = z.object({
  name: z.string(),
  delivered: z.object({ consumer_seq: z.number() }),
  num_pending: z.number(),
});

export interface ReaderContext {
  readonly connect: () => Promise<Connection>;
  readonly requestOn: (connection: Connection) => Request;
  readonly onClose: () => void;
}

export function createReader(context: ReaderContext, options: ReaderOptions): Reader {
  return new StreamReader(context, options);
}

class StreamReader implements Reader {
  lastSeq: number;
  recreated = 0;
  private readonly context: ReaderContext;
  private readonly options: ReaderOptions;
  private readonly abort = new AbortController();
  private readonly aborted: Promise<undefined>;
  private readonly finished: Promise<void>;
  private receivedSeq: number; // lastSeq, or further by what is held
  private held: BusMessage[] = []; // arrived while paused
  private pausedByCall = false;
  private session: PullSession | undefined;
  private streamCreated = '';
  private discardedBelow = 0; // first sequence of the stream, when it was found to have overtaken us
  private checkedMs = 0;
  private arrivedMs = 0;
  private passDueMs = 0;
  private problem = '';
  private readonly renewals = new Recurrence();
  private readonly troubles = new Recurrence();
  private failed = 0;

  constructor(context: ReaderContext, options: ReaderOptions) {
    this.context = context;
    this.options = options;
    this.lastSeq = options.startSeq - 1;
    this.receivedSeq = this.lastSeq;
    this.aborted = new Promise((resolve) => {
      this.abort.signal.addEventListener('abort', () => resolve(undefined));
    });
    this.finished = this.run();
  }

  pause(): void {
    this.pausedByCall = true;
  }

  resume(): void {
    this.pausedByCall = false;
    this.release();
    this.session?.pull();
  }

  async close(): Promise<void> {
    this.abort.abort();
    this.session?.end('closed');
    // A request on its way may take longer; nothing is delivered after its answer.
    await settledWithin(this.finished, CLOSE_MS);
    this.context.onClose();
  }

  get pending(): number {
    return this.held.length + (this.session?.pending ?? 0);
  }

  private get closed(): boolean {
    return this.abort.signal.aborted;
  }

  private get paused(): boolean {
    return this.pausedByCall || (this.options.paused?.() ?? false);
  }

  private async run(): Promise<void> {
    const { log, stream, filter } = this.options;
    while (!this.closed) {
      const beganMs = performance.now();
      try {
        const reason = await this.readUntilTrouble();
        if (this.closed) return;
        if (reason === RESUMED) continue;
        this.recreated++;
        if (this.renewals.isWorthLogging(performance.now()))
          log.info({ stream, filter, reason, lastSeq: this.receivedSeq }, 'reading on with a new consumer');
        // The first one at once; those that end as soon as they begin must not spin.
        if (performance.now() - beganMs < RETRY_MS) await this.rest();
      } catch (error) {
        if (this.closed) return;
        if (error instanceof BusError && error.code === 'STREAM_REPLACED') return this.stop(error);
        const kind = kindOf(error);
        if (kind !== this.problem && this.troubles.isWorthLogging(performance.now()))
          log.warn({ stream, filter, problem: (error as Error).message }, 'cannot read, retrying');
        this.problem = kind;
        await this.rest();
      }
    }
  }

  private async rest(): Promise<void> {
    await sleep(RETRY_MS, undefined, { signal: this.abort.signal }).catch(() => undefined);
  }

  private async readUntilTrouble(): Promise<string> {
    const connection = await Promise.race([this.context.connect(), this.aborted]);
    await connection?.whenUp(this.abort.signal);
    if (this.closed || !connection) return 'closed';
    const { stream } = this.options;
    const request = this.context.requestOn(connection);
    const consumer = await this.makeConsumer(request);
    try {
      await this.compareStream(request);
      if (this.closed) return 'closed';
      this.problem = '';
      this.passDueMs = 0;
      this.session = new PullSession(
        connection,
        stream,
        consumer,
        {
          onMessage: (message) => this.accept(message),
          paused: () => this.paused,
          onTick: () => this.onTick(request, consumer),
        },
        this.options,
      );
      return await this.session.ended;
    } finally {
      this.session = undefined;
      // Left alone it would stay for INACTIVE_MS. No answer is waited for.
      if (connection.up) connection.nats.publish(`$JS.API.CONSUMER.DELETE.${stream}.${consumer}`);
    }
  }

  private async makeConsumer(request: Request): Promise<string> {
    const { stream, filter } = this.options;
    const config = {
      name: `read-${nuid.next()}`,
      filter_subject: filter,
      ack_policy: 'none',
      deliver_policy: 'by_start_sequence',
      opt_start_seq: this.receivedSeq + 1,
      replay_policy: 'instant',
      num_replicas: 1,
      mem_storage: true,
      inactive_threshold: nanos(INACTIVE_MS),
    };
    // The filter is part of the subject so that the server's permissions can bind a reader to it.
    const subject = `$JS.API.CONSUMER.CREATE.${stream}.${config.name}.${filter}`;
    const { name } = await callJetStream(request, subject, { stream_name: stream, config }, consumerInfo);
    return name;
  }

  /** After the consumer is made, so that what it says still holds for the first message. */
  private async compareStream(request: Request): Promise<void> {
    const { stream } = this.options;
    const { created, state } = await readStream(request, stream);
    const replaced = this.streamCreated !== '' && created !== this.streamCreated;
    this.streamCreated = created;
    if (replaced || state.last_seq < this.receivedSeq) {
      throw new BusError(
        'STREAM_REPLACED',
        `stream ${stream} begins anew: it ends at ${state.last_seq}, read up to ${this.receivedSeq}, created ${created}. ` +
          'Restart the service; its positions in the old stream do not apply',
      );
    }
    if (state.first_seq > this.receivedSeq + 1) this.skipTo(state.first_seq);
  }

  private accept(message: BusMessage): void {
    if (this.discardedBelow > this.receivedSeq + 1 && message.seq >= this.discardedBelow)
      this.skipTo(this.discardedBelow);
    this.receivedSeq = message.seq;
    this.arrivedMs = performance.now();
    if (this.held.length > 0 || this.paused) this.held.push(message);
    else this.deliver(message);
  }

  private release(): void {
    while (this.held.length > 0 && !this.closed && !this.paused) this.deliver(this.held.shift()!);
  }

  private deliver(message: BusMessage): void {
    this.lastSeq = message.seq;
    try {
      this.options.onMessage(message);
    } catch (error) {
      const { subject, seq } = message;
      const fields = { err: error, subject, seq, failed: ++this.failed };
      if (isWorthLogging(this.failed))
        this.options.log.error(fields, 'handling of a message failed, passed over');
    }
  }

  private onTick(request: Request, consumer: string): void {
    this.release();
    const nowMs = performance.now();
    if (nowMs > this.passDueMs && nowMs - this.arrivedMs > PASS_QUIET_MS) {
      this.passDueMs = nowMs + PASS_CHECK_MS;
      this.pass(request, consumer).catch(() => undefined); // the next one makes up for it
    }
    if (!this.session || this.session.pending === 0 || nowMs - this.checkedMs < DISCARD_CHECK_MS) return;
    this.checkedMs = nowMs;
    // Behind by so much that the stream discards what was not read? Messages on the way here come first, therefore
    // it is reported by accept().
    readStream(request, this.options.stream).then(
      ({ state }) => {
        this.discardedBelow = state.first_seq;
      },
      () => undefined, // the next tick asks again
    );
  }

  /** The end of the stream first: what comes while the consumer is asked lies behind it. */
  private async pass(request: Request, consumer: string): Promise<void> {
    const { stream, onPassed } = this.options;
    const { session } = this;
    if (onPassed === undefined || session === undefined) return;
    const { last_seq } = (await readStream(request, stream)).state;
    if (last_seq <= this.receivedSeq) return;
    const subject = `$JS.API.CONSUMER.INFO.${stream}.${consumer}`;
    const { num_pending, delivered } = await callJetStream(request, subject, undefined, consumerInfo);
    const isOnTheWay = delivered.consumer_seq !== session.delivered || this.held.length > 0;
    if (session !== this.session || num_pending > 0 || isOnTheWay || last_seq <= this.receivedSeq) return;
    this.receivedSeq = last_seq;
    onPassed(last_seq);
  }

  private skipTo(firstSeq: number): void {
    const { stream, filter, log, onSkipped } = this.options;
    const fromSeq = this.receivedSeq + 1;
    log.error(
      { stream, filter, fromSeq, toSeq: firstSeq - 1 },
      'stream discarded messages before they were read',
    );
    this.receivedSeq = firstSeq - 1;
    onSkipped?.(fromSeq, firstSeq - 1);
  }

  private stop(error: BusError): void {
    this.options.log.error({ code: error.code }, error.message);
    this.options.onReplaced?.(error);
  }
}

/** What two errors have in common that are the same problem; their messages name different consumers. */
function kindOf(error: unknown): string {
  if (error instanceof JetStreamError) return `${error.code} ${error.number}`;
  return error instanceof BusError ? error.code : String(error);
}
