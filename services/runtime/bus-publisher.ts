// Stored or counted as dropped, in order. The client's own `js.publish` costs ten times the CPU and loses what is
// sent during a disconnect; here one wildcard inbox takes all acknowledgements and bus-window.ts decides.
import { createInbox, ErrorCode, type Msg, type NatsError, type Subscription } from 'nats';
import type { Connection } from './bus-connection.ts';
import { JetStreamError, JS_ERROR, publishReply, readReply } from './bus-jetstream.ts';
import { toHeaders } from './bus-message.ts';
import { isPublishable } from './bus-subject.ts';
import { Window } from './bus-window.ts';
import { isWorthLogging, type Logger, Recurrence } from './log.ts';

/**
 * `bad_subject`: no server would take the subject, or a header cannot be written. `closed`: not acknowledged when the
 * publisher was closed, or published after that.
 */
export type DropReason = 'queue_full' | 'too_large' | 'bad_subject' | 'closed';

export interface PublisherOptions {
  /** In flight at most: messages (256) and bytes (8 MiB). */
  readonly windowMessages?: number;
  readonly windowBytes?: number;
  /** Not acknowledged at most (64 MiB). When full the NEW message is dropped: what was promised stays, in order. */
  readonly queueBytes?: number;
  readonly onDrop?: (message: { subject: string; rows: number; reason: DropReason }) => void;
  /** It will not be sent again: stored, or dropped. The very object that was published. */
  readonly onSettled?: (message: Outbound) => void;
  /** Without any acknowledgement for this long everything in flight is sent again (2 s). */
  readonly stallMs?: number;
}

export interface Outbound {
  readonly subject: string;
  readonly schema: string;
  readonly data: Uint8Array;
  /** The server stores one message per id within its duplicate window. */
  readonly messageId: string;
  readonly rows: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface PublisherStats {
  /** Not acknowledged yet. */
  readonly queued: number;
  readonly queuedBytes: number;
  readonly acked: number;
  readonly ackedRows: number;
  readonly dropped: number;
  readonly droppedRows: number;
  readonly resent: number;
}

export interface Publisher {
  /** Queues in order; never throws and never waits. */
  publish(message: Outbound): void;
  /** True once everything queued before the call is acknowledged; false at the deadline. */
  flush(timeoutMs: number): Promise<boolean>;
  readonly stats: PublisherStats;
  /** Forgets what is not acknowledged, and counts it as dropped: flush first. */
  close(): void;
  /** Closes too, but gives back what is not acknowledged, in order, for who has another place for it. */
  release(): readonly Outbound[];
}

const STALL_MS = 2_000;
const RETRY_MS = 500;
const TICK_MS = 250;
const OVERHEAD_BYTES = 256; // subject, headers and bookkeeping of one message
const SHOWN_CHARS = 200; // of a subject

export interface PublisherContext {
  readonly connection: Connection;
  readonly log: Logger;
  readonly onClose: () => void;
}

export function createPublisher(context: PublisherContext, options: PublisherOptions): Publisher {
  return new WindowPublisher(context, options);
}

class WindowPublisher implements Publisher {
  private readonly connection: Connection;
  private readonly log: Logger;
  private readonly window: Window<Outbound>;
  private readonly onDrop: NonNullable<PublisherOptions['onDrop']>;
  private readonly onSettled: NonNullable<PublisherOptions['onSettled']>;
  private readonly stallMs: number;
  private readonly inbox: string;
  private readonly undo: (() => void)[] = [];
  private readonly waiting = new Set<{ upTo: number; done: (flushed: boolean) => void }>();
  private acked = 0;
  private ackedRows = 0;
  private dropped = 0;
  private droppedRows = 0;
  private readonly troubles = new Recurrence();
  private troubled = false;
  private troubleSaid = false;
  private closed = false;
  private subscription: Subscription;

  constructor({ connection, log, onClose }: PublisherContext, options: PublisherOptions) {
    this.connection = connection;
    this.log = log;
    this.onDrop = options.onDrop ?? (() => undefined);
    this.onSettled = options.onSettled ?? (() => undefined);
    this.stallMs = options.stallMs ?? STALL_MS;
    this.window = new Window({
      windowMessages: options.windowMessages ?? 256,
      windowBytes: options.windowBytes ?? 8 << 20,
      queueBytes: options.queueBytes ?? 64 << 20,
      stallMs: this.stallMs,
      retryMs: RETRY_MS,
    });
    this.inbox = createInbox(connection.inboxPrefix);
    this.subscription = this.subscribe();
    const timer = setInterval(() => this.onTick(), TICK_MS);
    timer.unref();
    const stopWatching = connection.onChange((up) => this.onConnection(up));
    this.undo.push(
      () => this.subscription.unsubscribe(),
      () => clearInterval(timer),
      stopWatching,
      onClose,
    );
    this.window.setConnected(connection.up);
  }

  publish(message: Outbound): void {
    const { subject, data } = message;
    if (this.closed) this.drop(message, 'closed', 'published after the publisher was closed');
    else if (!isPublishable(subject)) this.drop(message, 'bad_subject', 'no server would take the subject');
    else if (this.window.offer(message, data.length + OVERHEAD_BYTES)) this.pump();
    else this.drop(message, 'queue_full', 'too much waits for the bus');
  }

  flush(timeoutMs: number): Promise<boolean> {
    const upTo = this.window.end;
    if (this.window.doneUpTo >= upTo) return Promise.resolve(true);
    return new Promise((resolve) => {
      const waiter = {
        upTo,
        done: (flushed: boolean): void => {
          clearTimeout(timer);
          this.waiting.delete(waiter);
          resolve(flushed);
        },
      };
      const timer = setTimeout(() => waiter.done(false), timeoutMs);
      this.waiting.add(waiter);
    });
  }

  get stats(): PublisherStats {
    const { acked, ackedRows, dropped, droppedRows } = this;
    const { queued, queuedBytes, resent } = this.window;
    return { queued, queuedBytes, acked, ackedRows, dropped, droppedRows, resent };
  }

  close(): void {
    for (const message of this.release()) this.drop(message, 'closed', 'closed before it was acknowledged');
  }

  release(): readonly Outbound[] {
    if (this.closed) return [];
    this.closed = true;
    for (const undo of this.undo) undo();
    const left = this.window.abandon();
    for (const waiter of [...this.waiting]) waiter.done(false);
    return left;
  }

  private pump(): void {
    for (;;) {
      const outgoing = this.window.take(performance.now());
      if (!outgoing) return;
      const { subject, schema, data, messageId, headers } = outgoing.message;
      try {
        this.connection.nats.publish(subject, data, {
          reply: `${this.inbox}.${outgoing.token}`,
          headers: toHeaders(schema, { ...headers, 'Nats-Msg-Id': messageId }),
        });
      } catch (error) {
        const { code, message } = error as NatsError;
        if (this.connection.nats.isClosed()) this.window.setConnected(false);
        else
          this.giveUp(
            outgoing.token,
            code === ErrorCode.MaxPayloadExceeded ? 'too_large' : 'bad_subject',
            message,
          );
      }
    }
  }

  /** The client closes it for good when the server refuses it, which a change of the permissions may end. */
  private subscribe(): Subscription {
    return this.connection.nats.subscribe(`${this.inbox}.*`, {
      callback: (error, reply) => (error ? this.trouble(error.message) : this.onReply(reply)),
    });
  }

  private onReply(reply: Msg): void {
    const token = reply.subject.slice(this.inbox.length + 1);
    const problem = problemOf(reply);
    if (problem === undefined) {
      const message = this.window.acknowledge(token, performance.now());
      if (message) this.onStored(message);
    } else if (problem instanceof JetStreamError && problem.number === JS_ERROR.messageTooLarge)
      this.giveUp(token, 'too_large', problem.message);
    else if (this.window.refuse(token, performance.now())) this.trouble(problem.message);
    this.pump();
  }

  private onStored(message: Outbound): void {
    this.acked++;
    this.ackedRows += message.rows;
    if (this.troubled && this.troubleSaid)
      this.log.info({ queued: this.window.queued }, 'publishing works again');
    this.troubled = false;
    this.onSettled(message);
    this.wake();
  }

  private onTick(): void {
    if (this.window.tick(performance.now())) {
      this.trouble(`no acknowledgement for ${this.stallMs} ms`);
      if (this.subscription.isClosed()) this.subscription = this.subscribe();
    }
    this.pump();
  }

  private onConnection(up: boolean): void {
    this.window.setConnected(up);
    this.pump();
  }

  /** No attempt will do better. */
  private giveUp(token: string, reason: DropReason, problem: string): void {
    const message = this.window.discard(token);
    if (!message) return;
    this.drop(message, reason, problem);
    this.wake();
  }

  private drop(message: Outbound, reason: DropReason, problem: string): void {
    const { subject, rows, data } = message;
    this.dropped++;
    this.droppedRows += rows;
    const fields = {
      reason,
      problem,
      subject: subject.slice(0, SHOWN_CHARS),
      bytes: data.length,
      dropped: this.dropped,
    };
    if (isWorthLogging(this.dropped)) this.log.error(fields, 'message dropped');
    this.onDrop({ subject, rows, reason });
    this.onSettled(message);
  }

  private trouble(problem: string): void {
    if (!this.troubled) this.troubleSaid = this.troubles.isWorthLogging(performance.now());
    if (!this.troubled && this.troubleSaid)
      this.log.warn({ problem, queued: this.window.queued }, 'publishing again what is unacknowledged');
    this.troubled = true;
  }

  private wake(): void {
    for (const waiter of [...this.waiting]) if (this.window.doneUpTo >= waiter.upTo) waiter.done(true);
  }
}

/** Why the reply does not say "stored": no responders (503), an error, or something unreadable. */
function problemOf(reply: Msg): Error | undefined {
  if (reply.headers?.code)
    return new Error(`the server answered ${reply.headers.code} ${reply.headers.description}`);
  try {
    readReply('publish', reply.data, publishReply);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
