// One pull consumer being drained, from the first pull request until anything is not as it should be. The requests
// are spoken here as ADR-37 of nats-architecture-and-design has them, because the client's `consume()` can neither
// pause nor show heartbeats.
import { createInbox, type Msg, nanos, type Subscription } from 'nats';
import { type Connection, TICK_MS } from './bus-connection.ts';
import { type BusMessage, toBusMessage } from './bus-message.ts';

export interface PullHandlers {
  /** In stream order, none left out. */
  readonly onMessage: (message: BusMessage) => void;
  /** While true nothing more is asked for; what was asked for still arrives. */
  readonly paused: () => boolean;
  readonly onTick: () => void;
}

export interface PullTimes {
  /** How long one pull request lives (5 s). */
  readonly expiresMs?: number;
  /** Neither message nor heartbeat for this long while a request is open: the session ends (3.5 s). */
  readonly silenceMs?: number;
}

const PULL_MESSAGES = 256;
const PULL_BYTES = 4 << 20;
const EXPIRES_MS = 5_000;
const SILENCE_MS = 3_500;
/** The server's heartbeat while it has nothing to send, and how long a session may be dry: this part of `expiresMs`. */
const BEATS_PER_REQUEST = 5;
const HEADROOM_BYTES = 64 << 10; // the server counts subject and headers too

/**
 * Reason of a session that ended because reading resumes: with no request open the stream may have discarded what was
 * not read, which only a new consumer can tell before the next message comes.
 */
export const RESUMED = 'resumed';

export class PullSession {
  /** Resolves with the reason. */
  readonly ended: Promise<string>;
  /** What the consumer had left to send after the last message. */
  pending = 0;
  /** Messages that arrived. */
  delivered = 0;
  private readonly connection: Connection;
  private readonly handlers: PullHandlers;
  private readonly nextSubject: string;
  private readonly pullBytes: number;
  private readonly expiresMs: number;
  private readonly silenceMs: number;
  private readonly inbox: string;
  private readonly subscription: Subscription;
  private readonly stopTicking: () => void;
  private readonly stopWatching: () => void;
  private resolve: (reason: string) => void = () => undefined;
  private open = true;
  private credit = 0; // messages asked for and not arrived
  private dryMs: number | undefined; // since when paused with nothing asked for
  private heardMs = performance.now();
  private tickMs = performance.now();

  constructor(
    connection: Connection,
    stream: string,
    consumer: string,
    handlers: PullHandlers,
    times: PullTimes,
  ) {
    const { nats } = connection;
    this.connection = connection;
    this.handlers = handlers;
    this.expiresMs = times.expiresMs ?? EXPIRES_MS;
    this.silenceMs = times.silenceMs ?? SILENCE_MS;
    this.nextSubject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
    // A message larger than a request's bytes would end every request without being delivered.
    this.pullBytes = Math.max(PULL_BYTES, (nats.info?.max_payload ?? 0) + HEADROOM_BYTES);
    this.inbox = createInbox(connection.inboxPrefix);
    this.ended = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.subscription = nats.subscribe(this.inbox, {
      callback: (error, message) => (error ? this.end(error.message) : this.onArrival(message)),
    });
    this.stopTicking = connection.onTick(() => this.tick());
    this.stopWatching = connection.onChange((up) => this.end(up ? 'reconnected' : 'disconnected'));
    this.pull();
  }

  end(reason: string): void {
    if (!this.open) return;
    this.open = false;
    this.stopTicking();
    this.stopWatching();
    this.subscription.unsubscribe();
    this.resolve(reason);
  }

  /** Asks for more when half of the last request has arrived. */
  pull(): void {
    if (!this.open || 2 * this.credit > PULL_MESSAGES || this.isDry()) return;
    const batch = PULL_MESSAGES - this.credit;
    if (this.credit === 0) this.heardMs = performance.now();
    this.credit = PULL_MESSAGES;
    const request = {
      batch,
      max_bytes: this.pullBytes,
      expires: nanos(this.expiresMs),
      idle_heartbeat: nanos(this.expiresMs / BEATS_PER_REQUEST),
    };
    this.connection.nats.publish(this.nextSubject, Buffer.from(JSON.stringify(request)), {
      reply: this.inbox,
    });
  }

  /** Paused; after a pause in which all requests ran out the session is of no more use, see RESUMED. */
  private isDry(): boolean {
    const nowMs = performance.now();
    if (this.handlers.paused()) {
      if (this.credit === 0) this.dryMs ??= nowMs;
      return true;
    }
    const dry = this.dryMs !== undefined && nowMs - this.dryMs > this.expiresMs / BEATS_PER_REQUEST;
    this.dryMs = undefined;
    if (dry) this.end(RESUMED);
    return dry;
  }

  private onArrival(message: Msg): void {
    if (!this.open) return;
    this.heardMs = performance.now();
    if (message.headers?.code) this.onStatus(message);
    else this.onMessage(message, parseDelivery(message.reply));
  }

  private onMessage(message: Msg, delivery: Delivery | undefined): void {
    if (delivery?.delivered !== this.delivered + 1) {
      this.end(`delivery ${delivery?.delivered ?? 'unnumbered'} after ${this.delivered}`);
      return;
    }
    this.delivered = delivery.delivered;
    this.pending = delivery.pending;
    this.credit--;
    this.handlers.onMessage(toBusMessage(message, delivery.seq));
    this.pull();
  }

  private onStatus({ headers }: Msg): void {
    const { code, description } = headers!;
    if (code === 100) return;
    const requestEnded = code === 408 || code === 404 || (code === 409 && /maxbytes/i.test(description));
    if (!requestEnded) {
      this.end(`${code} ${description}`);
      return;
    }
    const unused = Number(headers!.get('Nats-Pending-Messages') || this.credit);
    this.credit = Math.max(0, this.credit - unused);
    this.pull();
  }

  private tick(): void {
    const nowMs = performance.now();
    // A late tick says that this process was busy: what the server sent meanwhile has not been looked at yet.
    if (nowMs - this.tickMs > 2 * TICK_MS) this.heardMs = nowMs;
    this.tickMs = nowMs;
    this.handlers.onTick();
    this.pull();
    if (this.credit > 0 && nowMs - this.heardMs > this.silenceMs)
      this.end(`silence for ${this.silenceMs} ms`);
  }
}

export interface Delivery {
  /** Sequence in the stream. */
  readonly seq: number;
  /** Deliveries of this consumer so far. */
  readonly delivered: number;
  /** Left for this consumer. */
  readonly pending: number;
}

/**
 * From the reply subject of a delivered message: `$JS.ACK.<stream>.<consumer>.<times>.<seq>.<delivered>.<ns>.<pending>`
 * or, with a domain and an account before the stream and perhaps a token at the end, eleven or twelve tokens (ADR-15).
 */
export function parseDelivery(reply: string | undefined): Delivery | undefined {
  const tokens = reply?.split('.') ?? [];
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK' || tokens.length < 9 || tokens.length === 10)
    return undefined;
  const at = tokens.length === 9 ? 5 : 7;
  const [seq, delivered, , pending] = tokens.slice(at, at + 4).map(Number);
  const whole = [seq, delivered, pending].every(Number.isSafeInteger);
  return whole ? { seq: seq!, delivered: delivered!, pending: pending! } : undefined;
}
