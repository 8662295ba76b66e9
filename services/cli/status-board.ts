// What the services' heartbeats say, for one machine. Pure.
import type { Status } from '../../schemas/status.ts';

type Role = Status['role'];

/** Remembered, of all services. */
const MAX_NOTES = 1_000;
/** More than this is not said: notes that push each other out of memory would be said again with every beat. */
const MAX_NOTES_OF_BEAT = 100;
/** A service that works with limits (one target of three cannot be probed) need not become better than that. */
const ACCEPT_DEGRADED_MS = 5_000;

export class StatusBoard {
  private readonly latest = new Map<Role, Status>();
  private readonly degradedSinceMs = new Map<Role, number>();
  private readonly said = new Set<string>();

  /** Notes that were not seen before, each with its role; what is said while starting is passing. */
  accept(status: Status, nowMs: number): string[] {
    const { role, state, notes } = status;
    this.latest.set(role, status);
    if (state !== 'degraded') this.degradedSinceMs.delete(role);
    else if (!this.degradedSinceMs.has(role)) this.degradedSinceMs.set(role, nowMs);
    if (state === 'starting') return [];
    return notes
      .slice(0, MAX_NOTES_OF_BEAT)
      .map((note) => `${role}: ${note}`)
      .filter((note) => this.isNew(note));
  }

  /** Notes that are repeated stay remembered, those not heard of for longest are forgotten first. */
  private isNew(note: string): boolean {
    const known = this.said.delete(note);
    this.said.add(note);
    if (this.said.size > MAX_NOTES) this.said.delete(this.said.values().next().value!);
    return !known;
  }

  /** The roles that are not up yet, with their state. */
  waitingFor(roles: readonly Role[], nowMs: number): string[] {
    return roles
      .filter((role) => !this.isUp(role, nowMs))
      .map((role) => `${role} (${describe(this.latest.get(role))})`);
  }

  private isUp(role: Role, nowMs: number): boolean {
    const degradedMs = this.degradedSinceMs.get(role);
    if (degradedMs !== undefined) return nowMs - degradedMs >= ACCEPT_DEGRADED_MS;
    return this.latest.get(role)?.state === 'ready';
  }
}

function describe(beat: Status | undefined): string {
  return beat ? [beat.state, ...beat.notes].join(': ') : 'no sign of life yet';
}
