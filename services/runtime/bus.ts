// The bus as services see it. Bulk reading has a connection of its own, opened when first needed, so that
// acknowledgements, heartbeats and positions never queue behind it.
import type { Msg } from 'nats';
import type { BusAccess } from './bus-access.ts';
import { type Connection, openConnection } from './bus-connection.ts';
import { type Request, readMessage, readStream, readSubjects } from './bus-jetstream.ts';
import { type LeaseOptions, type Leases, openLeases } from './bus-leases.ts';
import { type BusMessage, fromStored, toBusMessage, toHeaders } from './bus-message.ts';
import { openPositions, type Positions } from './bus-positions.ts';
import { createPublisher, type Publisher, type PublisherOptions } from './bus-publisher.ts';
import { createReader, type Reader, type ReaderOptions } from './bus-reader.ts';
import { isWorthLogging, type Logger } from './log.ts';

export type { BusAccess } from './bus-access.ts';
export { createKey } from './bus-access.ts';
export type { Leases } from './bus-leases.ts';
export type { BusMessage } from './bus-message.ts';
export type { Positions } from './bus-positions.ts';
export type { DropReason, Outbound, Publisher, PublisherOptions, PublisherStats } from './bus-publisher.ts';
export type { Reader, ReaderOptions } from './bus-reader.ts';

export interface Bus {
  readonly connected: boolean;
  publisher(options: PublisherOptions): Publisher;
  reader(options: ReaderOptions): Reader;
  /** Small compare-and-set values in a KV bucket, created when missing. */
  positions(bucket: string): Promise<Positions>;
  /** What instances of a role share out among each other, each to one at a time. To be closed before the bus. */
  leases(options: LeaseOptions): Leases;
  streamState(stream: string): Promise<{ firstSeq: number; lastSeq: number; created: string }>;
  /** Those below a pattern that have messages in the stream. */
  streamSubjects(stream: string, pattern: string): Promise<string[]>;
  /** The first message of the subject from `seq` on; undefined when there is none. For a few: bulk is a reader's. */
  streamMessage(stream: string, subject: string, seq: number): Promise<BusMessage | undefined>;
  /** Fire and forget, not even kept while the server is away: heartbeats only. */
  publish(subject: string, schema: string, data: Uint8Array): void;
  /** Live messages, those sent while the connection is away are missed. */
  subscribe(subject: string, onMessage: (message: BusMessage) => void): { close(): void };
  /** Throws BusError TIMEOUT or NO_RESPONDERS. */
  request(subject: string, schema: string, data: Uint8Array, timeoutMs: number): Promise<BusMessage>;
  /** One of the servers with the same queue name gets each request. An answer that throws is logged, not sent. */
  serve(
    subject: string,
    queue: string,
    answer: (message: BusMessage) => Promise<{ schema: string; data: Uint8Array }>,
  ): { close(): void };
  close(): Promise<void>;
}

export interface BusOptions extends BusAccess {
  /** One URL, or several joined by commas. */
  readonly server: string;
  /** Shown by the server's monitoring. */
  readonly name: string;
  readonly signal?: AbortSignal;
  readonly log: Logger;
  /** Why the first connection is not there yet, at each attempt. */
  readonly onProblem?: (problem: string) => void;
}

const TIMEOUT_MS = 4_000;
const ANSWERS_AT_ONCE = 64;

/**
 * Waits for the first connection for ever, unless `signal` aborts: BusError ABORTED, whose exit code is 0. After that
 * the connection comes back by itself.
 */
export async function connectBus(options: BusOptions): Promise<Bus> {
  return new NatsBus(options, await openConnection(options));
}

class NatsBus implements Bus {
  private readonly options: BusOptions;
  private readonly main: Connection;
  private readonly abort = new AbortController();
  private reading: Promise<Connection> | undefined;
  private readonly parts = new Set<Publisher | Reader>();

  constructor(options: BusOptions, main: Connection) {
    this.options = options;
    this.main = main;
  }

  get connected(): boolean {
    return this.main.up;
  }

  publisher(options: PublisherOptions): Publisher {
    const { log } = this.options;
    const onClose = (): void => void this.parts.delete(publisher);
    const publisher: Publisher = createPublisher({ connection: this.main, log, onClose }, options);
    this.parts.add(publisher);
    return publisher;
  }

  reader(options: ReaderOptions): Reader {
    const onClose = (): void => void this.parts.delete(reader);
    const reader: Reader = createReader({ connect: () => this.openReading(), requestOn, onClose }, options);
    this.parts.add(reader);
    return reader;
  }

  positions(bucket: string): Promise<Positions> {
    return openPositions(
      async (subject, data, headers) =>
        (await this.main.request(subject, data, '', TIMEOUT_MS, headers)).data,
      bucket,
    );
  }

  leases(options: LeaseOptions): Leases {
    const { signal: _, ...access } = this.options;
    return openLeases({ ...access, name: `${access.name} leases` }, options);
  }

  async streamState(stream: string): Promise<{ firstSeq: number; lastSeq: number; created: string }> {
    const { created, state } = await readStream(requestOn(this.main), stream);
    return { firstSeq: state.first_seq, lastSeq: state.last_seq, created };
  }

  streamSubjects(stream: string, pattern: string): Promise<string[]> {
    return readSubjects(requestOn(this.main), stream, pattern);
  }

  async streamMessage(stream: string, subject: string, seq: number): Promise<BusMessage | undefined> {
    const found = await readMessage(requestOn(this.main), stream, subject, seq);
    return found && fromStored(found);
  }

  publish(subject: string, schema: string, data: Uint8Array): void {
    if (this.main.up) this.main.nats.publish(subject, data, { headers: toHeaders(schema) });
  }

  subscribe(subject: string, onMessage: (message: BusMessage) => void): { close(): void } {
    let failed = 0;
    return this.listen(subject, undefined, (message) => {
      try {
        onMessage(toBusMessage(message, 0));
      } catch (error) {
        const fields = { err: error, subject: message.subject, failed: ++failed };
        if (isWorthLogging(failed)) this.options.log.error(fields, 'handling of a message failed');
      }
    });
  }

  async request(subject: string, schema: string, data: Uint8Array, timeoutMs: number): Promise<BusMessage> {
    return toBusMessage(await this.main.request(subject, data, schema, timeoutMs), 0);
  }

  serve(
    subject: string,
    queue: string,
    answer: (message: BusMessage) => Promise<{ schema: string; data: Uint8Array }>,
  ): { close(): void } {
    let open = 0;
    let unanswered = 0;
    return this.listen(subject, queue, async (message) => {
      if (open >= ANSWERS_AT_ONCE) {
        // The caller's time-out tells it. Better than a queue without end.
        if (isWorthLogging(++unanswered))
          this.options.log.warn(
            { subject, atOnce: ANSWERS_AT_ONCE, unanswered },
            'too many requests at once',
          );
        return;
      }
      open++;
      try {
        const reply = await answer(toBusMessage(message, 0));
        message.respond(reply.data, { headers: toHeaders(reply.schema) });
      } catch (error) {
        this.options.log.error({ err: error, subject: message.subject }, 'request not answered');
      } finally {
        open--;
      }
    });
  }

  async close(): Promise<void> {
    const closing = [...this.parts].map((part) => part.close());
    this.abort.abort();
    await Promise.all(closing);
    await Promise.all([
      this.main.close(),
      this.reading?.then((connection) => connection.close()).catch(() => undefined),
    ]);
  }

  private listen(
    subject: string,
    queue: string | undefined,
    callback: (message: Msg) => void,
  ): { close(): void } {
    const subscription = this.main.nats.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error) this.options.log.error({ subject, problem: error.message }, 'subscription refused');
        else callback(message);
      },
    });
    return { close: () => subscription.unsubscribe() };
  }

  private openReading(): Promise<Connection> {
    const { name } = this.options;
    const reading = { ...this.options, name: `${name} reading`, signal: this.abort.signal };
    this.reading ??= openConnection(reading);
    return this.reading;
  }
}

function requestOn(connection: Connection): Request {
  return async (subject, data) => (await connection.request(subject, data, '', TIMEOUT_MS)).data;
}
