// Go-back-N, pure: which message goes out next, given acknowledgements, refusals, disconnects and time. Messages
// leave in the order they came; after anything odd everything from the first unacknowledged one is sent again, and
// the server drops what it has already stored by message id. Acknowledgements of later messages are no progress: the
// first one may have been lost with the server that had it, and those who wait for it should not wait for long.

export interface WindowLimits {
  /** In flight at most. */
  readonly windowMessages: number;
  readonly windowBytes: number;
  /** Not acknowledged at most, in flight or not; what does not fit is dropped. */
  readonly queueBytes: number;
  /** The first in flight not acknowledged for this long: send again; then after twice that, … */
  readonly stallMs: number;
  /** Pause after a refusal. */
  readonly retryMs: number;
}

export interface Outgoing<M> {
  /** Comes back with the answer: which message, in which attempt. */
  readonly token: string;
  readonly message: M;
}

interface Entry<M> {
  readonly message: M;
  readonly bytes: number;
  state: 'queued' | 'sent' | 'done';
}

const COMPACT_AT = 1024;
const MOST_DOUBLINGS = 3;

export class Window<M> {
  private readonly limits: WindowLimits;
  private entries: (Entry<M> | undefined)[] = []; // those before `head` are done
  private head = 0;
  private base = 0; // number of the entry at `head`
  private next = 0; // number of the entry to look at next
  private sentUpTo = 0; // numbers below were sent at least once
  private attempt = 0;
  private up = true;
  private inFlight = 0;
  private inFlightBytes = 0;
  private progressMs = 0;
  private stalls = 0; // in a row
  private holdUntilMs = 0;
  queuedBytes = 0;
  resent = 0;

  constructor(limits: WindowLimits) {
    this.limits = limits;
  }

  /** Messages not acknowledged yet. */
  get queued(): number {
    return this.end - this.base;
  }

  /** Number after the last message taken; all below it are acknowledged once `doneUpTo` reaches it. */
  get end(): number {
    return this.base + this.entries.length - this.head;
  }

  get doneUpTo(): number {
    return this.base;
  }

  /** False: the queue is full, the message was not taken. */
  offer(message: M, bytes: number): boolean {
    if (this.queuedBytes + bytes > this.limits.queueBytes) return false;
    this.entries.push({ message, bytes, state: 'queued' });
    this.queuedBytes += bytes;
    return true;
  }

  /** The message to send now, if any; call until undefined. */
  take(nowMs: number): Outgoing<M> | undefined {
    if (!this.up || nowMs < this.holdUntilMs) return undefined;
    while (this.next < this.end && this.at(this.next).state !== 'queued') this.next++;
    if (this.next >= this.end || this.inFlight >= this.limits.windowMessages) return undefined;
    const entry = this.at(this.next);
    const fits = this.inFlightBytes + entry.bytes <= this.limits.windowBytes;
    if (!fits && this.inFlight > 0) return undefined; // one that is larger than the window goes alone
    if (this.inFlight === 0) this.progressMs = nowMs;
    entry.state = 'sent';
    this.inFlight++;
    this.inFlightBytes += entry.bytes;
    const number = this.next++;
    if (number < this.sentUpTo) this.resent++;
    else this.sentUpTo = number + 1;
    return { token: `${number}-${this.attempt}`, message: entry.message };
  }

  /** Stored, in whichever attempt. The message, unless it was known already. */
  acknowledge(token: string, nowMs: number): M | undefined {
    const known = this.find(token);
    if (!known) return undefined;
    const { base } = this;
    const message = this.finish(known.entry);
    if (this.base > base) {
      this.progressMs = nowMs;
      this.stalls = 0;
    }
    return message;
  }

  /** Never will be stored: gives the message up. */
  discard(token: string): M | undefined {
    const known = this.find(token);
    return known && this.finish(known.entry);
  }

  /** Not stored: send again from there after a pause. False: an answer to an earlier attempt, which says nothing. */
  refuse(token: string, nowMs: number): boolean {
    const known = this.find(token);
    if (known?.attempt !== this.attempt || known.entry.state !== 'sent') return false;
    this.rewind();
    this.holdUntilMs = nowMs + this.limits.retryMs;
    return true;
  }

  /** True: nothing was acknowledged for too long, everything in flight will be sent again. */
  tick(nowMs: number): boolean {
    const patienceMs = this.limits.stallMs << this.stalls;
    if (this.inFlight === 0 || nowMs - this.progressMs < patienceMs) return false;
    // A server that is only slow must not get the whole window again and again.
    this.stalls = Math.min(this.stalls + 1, MOST_DOUBLINGS);
    this.rewind();
    return true;
  }

  setConnected(up: boolean): void {
    this.up = up;
    this.stalls = 0;
    this.rewind();
  }

  /** Everything not acknowledged, and the window empty. */
  abandon(): M[] {
    const left = this.entries.slice(this.head).filter((entry) => entry!.state !== 'done');
    for (const entry of left) entry!.state = 'done';
    this.rewind();
    this.queuedBytes = 0;
    this.trim();
    return left.map((entry) => entry!.message);
  }

  private rewind(): void {
    for (let number = this.base; number < this.next; number++) {
      const entry = this.at(number);
      if (entry.state === 'sent') entry.state = 'queued';
    }
    this.next = this.base;
    this.inFlight = 0;
    this.inFlightBytes = 0;
    this.holdUntilMs = 0;
    this.attempt++;
  }

  private at(number: number): Entry<M> {
    return this.entries[this.head + number - this.base]!;
  }

  private find(token: string): { entry: Entry<M>; attempt: number } | undefined {
    const match = /^(\d+)-(\d+)$/.exec(token);
    if (!match) return undefined;
    const number = Number(match[1]);
    if (number < this.base || number >= this.sentUpTo) return undefined;
    return { entry: this.at(number), attempt: Number(match[2]) };
  }

  private finish(entry: Entry<M>): M | undefined {
    if (entry.state === 'done') return undefined;
    if (entry.state === 'sent') {
      this.inFlight--;
      this.inFlightBytes -= entry.bytes;
    }
    entry.state = 'done';
    this.queuedBytes -= entry.bytes;
    this.trim();
    return entry.message;
  }

  private trim(): void {
    while (this.base < this.end && this.at(this.base).state === 'done') {
      this.entries[this.head++] = undefined;
      this.base++;
    }
    if (this.next < this.base) this.next = this.base;
    if (this.head < COMPACT_AT || 2 * this.head < this.entries.length) return;
    this.entries = this.entries.slice(this.head);
    this.head = 0;
  }
}
