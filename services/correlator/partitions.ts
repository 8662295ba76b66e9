// The partitions that this process owns, as its leases come and go, and what they share: one publisher, one bound on
// memory. A partition that somebody else wrote to is dropped, and taken over anew when the lease says it is ours.
import { setTimeout as sleep } from 'node:timers/promises';
import { DEAD_LETTER_SUBJECTS } from '../../schemas/subjects.ts';
import type { Bus, DropReason, Positions, Publisher } from '../runtime/bus.ts';
import { BusError } from '../runtime/errors.ts';
import { aborted } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import type { JoinLimits } from './join.ts';
import { type Partition, type PartitionOptions, takeOver } from './partition.ts';
import { type Counters, cumulative, sumOf } from './partition-counters.ts';
import { keepWithin } from './request-budget.ts';
import { Strays } from './strays.ts';

export interface PartitionsOptions {
  readonly bus: Bus;
  readonly log: Logger;
  readonly positions: Positions;
  readonly windowMs: number;
  readonly limits: JoinLimits;
  /** By the lease, at this moment. */
  readonly isOurs: (partition: number) => boolean;
}

interface Slot {
  readonly stop: AbortController;
  /** Somebody else may own it by now. */
  lost: boolean;
  open: Partition | undefined;
  closed: Promise<void>;
}

const QUEUE_BYTES = 64 << 20;
/** Whose owner looks after messages of no partition, too. */
const FIRST = 0;
const RETRY_MS = 1_000;

export class Partitions {
  /** Rejects when this process cannot go on. */
  readonly failed: Promise<never>;
  private readonly options: PartitionsOptions;
  private readonly publisher: Publisher;
  private readonly shared: PartitionOptions;
  private readonly strays: Strays;
  private readonly slots = new Map<number, Slot>();
  /** Of partitions that were given up. */
  private past: Counters = {};
  private fenced = 0;
  private deadLettersDropped = 0;
  private unpublishable = 0;
  private closing = false;
  private fail: (error: Error) => void = () => undefined;

  constructor(options: PartitionsOptions) {
    const { bus, log, positions, windowMs, limits } = options;
    this.options = options;
    this.failed = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => undefined); // main awaits it; a failure before that must not count as unhandled
    this.publisher = bus.publisher({
      queueBytes: QUEUE_BYTES,
      onDrop: ({ subject, reason }) => this.onDrop(subject, reason),
    });
    this.strays = new Strays({ bus, log, positions, publisher: this.publisher });
    this.shared = {
      bus,
      log,
      positions,
      publisher: this.publisher,
      queueBytes: QUEUE_BYTES,
      windowMs,
      limits,
      onProcessed: () => keepWithin(limits.maxRequests, this.joins),
      onFailed: (error) => this.fail(error),
    };
  }

  /** All that were taken are open, and have read again what was before their checkpoint. */
  get settled(): boolean {
    return [...this.slots.values()].every(({ open }) => open !== undefined && !open.catchingUp);
  }

  get notes(): string[] {
    return [...new Set(this.open.flatMap(({ notes }) => notes))];
  }

  get counters(): Record<string, number> {
    const { ackedRows, queued, resent } = this.publisher.stats;
    return {
      ...sumOf([this.past, this.strays.counters, ...this.open.map(({ counters }) => counters)]),
      partitions: this.slots.size,
      partitions_fenced: this.fenced,
      dead_letters_dropped: this.deadLettersDropped,
      messages_unpublishable: this.unpublishable,
      rows_acked: ackedRows,
      messages_queued: queued,
      messages_resent: resent,
    };
  }

  take(partition: number): void {
    const before = this.slots.get(partition)?.closed ?? Promise.resolve();
    const slot: Slot = { stop: new AbortController(), lost: false, open: undefined, closed: before };
    this.slots.set(partition, slot);
    slot.closed = before.then(() => this.own(partition, slot)).catch((error) => this.fail(error));
  }

  /** At once, without a last checkpoint. */
  drop(partition: number): void {
    const slot = this.slots.get(partition);
    if (slot === undefined) return;
    this.options.log.warn({ partition }, 'partition lost: its lease ran out');
    slot.lost = true;
    slot.stop.abort();
  }

  /** Resolves after the last checkpoint. */
  async release(partition: number): Promise<void> {
    const slot = this.slots.get(partition);
    slot?.stop.abort();
    await slot?.closed;
    this.options.log.info({ partition }, 'partition given back');
  }

  /** After all were released. */
  close(): void {
    this.closing = true;
    this.publisher.close();
  }

  private get open(): Partition[] {
    return [...this.slots.values()].flatMap(({ open }) => open ?? []);
  }

  private get joins() {
    return this.open.map(({ join }) => join);
  }

  private async own(partition: number, slot: Slot): Promise<void> {
    const { signal } = slot.stop;
    while (!signal.aborted) {
      const open = await this.tryToTakeOver(partition, signal);
      if (open === undefined) break;
      slot.open = open;
      const ended = new AbortController();
      const strays = partition === FIRST && this.strays.run(AbortSignal.any([signal, ended.signal]));
      const isFenced = await Promise.race([open.fenced.then(() => true), aborted(signal).then(() => false)]);
      if (slot.lost || isFenced) open.abandon();
      ended.abort();
      await strays;
      await open.close();
      slot.open = undefined;
      this.past = sumOf([this.past, cumulative(open.counters)]);
      if (!isFenced) break;
      this.fenced++;
      this.options.log.warn({ partition }, 'another correlator wrote the checkpoint: partition dropped');
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
    if (this.slots.get(partition) === slot) this.slots.delete(partition);
  }

  private async tryToTakeOver(partition: number, signal: AbortSignal): Promise<Partition | undefined> {
    const { log, isOurs } = this.options;
    let said = '';
    while (!signal.aborted) {
      try {
        return await takeOver(partition, () => isOurs(partition), this.shared);
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
        if (error.message !== said)
          log.warn({ partition, problem: error.message }, 'cannot take the partition over yet, retrying');
        said = error.message;
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    return undefined;
  }

  private onDrop(subject: string, reason: DropReason): void {
    if (this.closing) return; // counted by the publisher; the next owner publishes it again
    if (subject.startsWith(DEAD_LETTER_SUBJECTS.slice(0, -1))) this.deadLettersDropped++;
    else if (reason !== 'queue_full')
      this.unpublishable++; // it would be refused after a restart, too
    else {
      for (const partition of this.open) partition.abandon();
      this.fail(dropped(subject));
    }
  }
}

function dropped(subject: string): BusError {
  return new BusError(
    'ROWS_NOT_PUBLISHED',
    `rows for ${subject} could not be published; stopping, so that the next start publishes them again ` +
      'from the checkpoint. If it repeats, the server takes smaller messages than 1 MiB: raise its max_payload',
  );
}
