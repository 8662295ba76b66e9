// Which partitions this instance owns: leases, shared out by rendezvous hashing over the instances that live.
import { PARTITIONS } from '../../schemas/subjects.ts';
import type { Bus, Leases, Positions } from '../runtime/bus.ts';
import { shareOf } from '../runtime/bus-lease-plan.ts';
import type { Logger } from '../runtime/log.ts';
import type { JoinLimits } from './join.ts';
import { numberRanges } from './number-ranges.ts';
import { Partitions } from './partitions.ts';

export interface OwnershipOptions {
  readonly bus: Bus;
  readonly log: Logger;
  readonly role: string;
  readonly host: string;
  readonly positions: Positions;
  readonly windowMs: number;
  readonly limits: JoinLimits;
}

const LEASES = Array.from({ length: PARTITIONS }, (_, partition) => nameOf(partition));

export class Ownership {
  private readonly bus: Bus;
  private readonly partitions: Partitions;
  private readonly leases: Leases;

  constructor(options: OwnershipOptions) {
    const { bus, role, host } = options;
    this.bus = bus;
    this.partitions = new Partitions({
      ...options,
      isOurs: (partition) => this.leases.holds(nameOf(partition)),
    });
    this.leases = bus.leases({
      role,
      host,
      wanted: (self, members) => shareOf(self, members, LEASES),
      onTaken: (name) => this.partitions.take(partitionOf(name)),
      onLost: (name) => this.partitions.drop(partitionOf(name)),
      onRelease: (name) => this.partitions.release(partitionOf(name)),
    });
  }

  /** Rejects when this process cannot go on. */
  get failed(): Promise<never> {
    return this.partitions.failed;
  }

  get state(): 'starting' | 'ready' | 'degraded' {
    const { partitions, leases } = this;
    if (this.troubles.length > 0) return 'degraded';
    return leases.looked && leases.awaited.length === 0 && partitions.settled ? 'ready' : 'starting';
  }

  get notes(): string[] {
    const { held, awaited } = this.leases;
    const notes = this.troubles;
    if (awaited.length > 0)
      notes.push(`waits for partitions that another correlator holds: ${inWords(awaited)}`);
    if (held.length < PARTITIONS)
      notes.push(`owns ${held.length} of ${PARTITIONS} partitions: ${inWords(held)}`);
    return notes;
  }

  get counters(): Record<string, number> {
    return this.partitions.counters;
  }

  /** Writes the last checkpoints, then gives the leases back. */
  async close(): Promise<void> {
    await this.leases.close();
    this.partitions.close();
  }

  private get troubles(): string[] {
    const notes = this.partitions.notes;
    if (!this.bus.connected) notes.unshift('the bus is away');
    else if (this.leases.problem !== undefined) notes.push(`leases are not renewed: ${this.leases.problem}`);
    return notes;
  }
}

function inWords(names: readonly string[]): string {
  return numberRanges(names.map(partitionOf)) || 'none';
}

function nameOf(partition: number): string {
  return `p${partition}`;
}

function partitionOf(name: string): number {
  return Number(name.slice(1));
}
