// One member's leases, without timers, clock or bus: what it writes in which order, and what follows from the answers.
//
// A lease is a key that the bucket forgets after `ttlMs`. Taking it is a write that must find no key, renewing it one
// that must find the own last one. It counts as held until `ttlMs` after the last successful write was SENT, which is
// never later than the bucket forgets it: so at most one member holds it at any time, whatever is lost or late.
import { LEASE, type LeasePlan, MEMBER, planLeases } from './bus-lease-plan.ts';

export interface LeaseStore {
  /** Keys that are there now. */
  keys(): Promise<readonly string[]>;
  get(key: string): Promise<{ readonly value: string; readonly revision: number } | undefined>;
  /**
   * The new revision; undefined when the key is not at `revision` (0: not there). Without a revision whatever is there
   * is overwritten.
   */
  put(key: string, value: string, revision?: number): Promise<number | undefined>;
  /** Only when the key is still at `revision`. */
  remove(key: string, revision: number): Promise<void>;
}

export interface LeaseEvents {
  /** What is to be held here, given the members that live. */
  readonly wanted: (self: string, members: readonly string[]) => readonly string[];
  readonly onTaken: (name: string) => void;
  /** Somebody else may hold it by now: stop at once. */
  readonly onLost: (name: string) => void;
  /** Finish what is begun; it is given back when this resolves. */
  readonly onRelease: (name: string) => Promise<void>;
}

export interface LeaseConditions {
  readonly ttlMs: number;
  readonly renewMs: number;
  readonly nowMs: () => number;
  /** This member is dead for certain: what it held need not run out first. */
  readonly isGone: (member: string) => boolean;
}

interface Held {
  revision: number;
  sentMs: number;
  /** Being given back: resolves when it is. */
  leaving?: Promise<void>;
}

export class LeaseHolder {
  /** What is wanted and held by somebody else, as of the last round. */
  awaited: readonly string[] = [];
  private readonly store: LeaseStore;
  private readonly self: string;
  private readonly role: string;
  private readonly events: LeaseEvents;
  private readonly conditions: LeaseConditions;
  private readonly held = new Map<string, Held>();
  private turn: Promise<void> = Promise.resolve();
  private memberRevision = 0;
  private renewedMs = Number.NEGATIVE_INFINITY;
  private takeFromMs = Number.NEGATIVE_INFINITY;
  private stopping = false;

  /** `role` and `instance` make the member's name; those of one role share what they want. Both are subject tokens. */
  constructor(
    store: LeaseStore,
    role: string,
    instance: string,
    events: LeaseEvents,
    conditions: LeaseConditions,
  ) {
    this.store = store;
    this.role = `${role}-`;
    this.self = `${role}-${instance}`;
    this.events = events;
    this.conditions = conditions;
  }

  get names(): string[] {
    return [...this.held.keys()];
  }

  /** Nobody else holds it now. */
  holds(name: string): boolean {
    const lease = this.held.get(name);
    return lease !== undefined && this.isFresh(lease);
  }

  /** To be called again and again. Throws what the store throws; the next round makes up for it. */
  round(): Promise<void> {
    return this.inTurn(async () => {
      if (this.stopping) return;
      try {
        await this.renewWhenDue();
        await this.follow(await this.look());
      } catch (error) {
        // The others may have been cut off as well: their keys may be gone although they live.
        this.takeFromMs = this.conditions.nowMs() + this.conditions.renewMs;
        throw error;
      }
    });
  }

  /** Gives everything back. Throws what the store throws; what is not given back then runs out by itself. */
  async stop(): Promise<void> {
    this.stopping = true;
    await this.inTurn(() => this.store.remove(MEMBER + this.self, this.memberRevision)).catch(
      () => undefined,
    );
    await Promise.all(this.names.map((name) => this.release(name)));
  }

  /** One after the other: a lease must not be renewed while it is given back. */
  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.turn.then(work);
    this.turn = done.catch(() => undefined);
    return done;
  }

  private isFresh({ sentMs }: Held): boolean {
    return this.conditions.nowMs() - sentMs < this.conditions.ttlMs;
  }

  private async renewWhenDue(): Promise<void> {
    const nowMs = this.conditions.nowMs();
    if (nowMs - this.renewedMs < this.conditions.renewMs) return;
    const written = this.store.put(MEMBER + this.self, this.self);
    await Promise.all([written, ...[...this.held].map(([name, lease]) => this.renew(name, lease))]);
    this.memberRevision = (await written)!;
    this.renewedMs = nowMs;
  }

  private async renew(name: string, lease: Held): Promise<void> {
    const sentMs = this.conditions.nowMs();
    const revision = (await this.put(name, lease.revision)) ?? (await this.recover(name, lease));
    if (revision === undefined) this.lose(name);
    else Object.assign(lease, { revision, sentMs });
  }

  /** The key is not as it was written last: by a write that was not answered, or gone together with the bucket. */
  private async recover(name: string, lease: Held): Promise<number | undefined> {
    const found = await this.store.get(LEASE + name);
    if (found !== undefined) return found.value === this.self ? this.put(name, found.revision) : undefined;
    // Once it has run out somebody else may have held it, and be gone again.
    return this.isFresh(lease) ? this.put(name, 0) : undefined;
  }

  private async look(): Promise<LeasePlan> {
    const keys = await this.store.keys();
    const ours = namesIn(keys, MEMBER).filter((member) => member.startsWith(this.role));
    const members = ours.filter((member) => member === this.self || !this.conditions.isGone(member));
    const wanted = this.events.wanted(this.self, members);
    return planLeases(wanted, new Set(namesIn(keys, LEASE)), new Set(this.held.keys()));
  }

  private async follow({ take, release, awaited }: LeasePlan): Promise<void> {
    this.awaited = awaited;
    for (const name of release) this.release(name).catch(() => undefined); // then it runs out by itself
    if (this.conditions.nowMs() < this.takeFromMs) this.awaited = [...awaited, ...take];
    else {
      await Promise.all(take.map((name) => this.take(name, 0)));
      await Promise.all(awaited.map((name) => this.inherit(name)));
    }
  }

  private async take(name: string, from: number): Promise<void> {
    const sentMs = this.conditions.nowMs();
    const revision = await this.put(name, from);
    if (revision === undefined) return;
    this.held.set(name, { revision, sentMs });
    this.events.onTaken(name);
  }

  /** From a dead member, or from a write of its own whose answer was lost. */
  private async inherit(name: string): Promise<void> {
    const found = await this.store.get(LEASE + name);
    if (found === undefined) return;
    if (found.value === this.self || this.conditions.isGone(found.value))
      await this.take(name, found.revision);
  }

  private release(name: string): Promise<void> {
    const lease = this.held.get(name)!;
    lease.leaving ??= this.giveBack(name, lease);
    return lease.leaving;
  }

  /** It is renewed until all is finished, and only then given back. */
  private async giveBack(name: string, lease: Held): Promise<void> {
    await this.events.onRelease(name);
    await this.inTurn(async () => {
      if (this.held.get(name) !== lease) return;
      this.held.delete(name);
      await this.store.remove(LEASE + name, lease.revision);
    });
  }

  private lose(name: string): void {
    this.held.delete(name);
    this.events.onLost(name);
  }

  private put(name: string, revision: number): Promise<number | undefined> {
    return this.store.put(LEASE + name, this.self, revision);
  }
}

function namesIn(keys: readonly string[], prefix: string): string[] {
  return keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
}
