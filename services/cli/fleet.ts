// The fleet as its heartbeats tell it: one entry for each service, with rates from two beats of it. Pure.
import type { LedgerAnswer } from '../../schemas/ledger.ts';
import { samplesOf } from '../../schemas/metrics.ts';
import type { Status } from '../../schemas/status.ts';

export interface Member {
  readonly role: Status['role'];
  readonly host: string;
  readonly instance: string;
  readonly version: string;
  readonly state: Status['state'] | 'silent';
  readonly backend: string;
  /** Executables that are probed; of capture alone. */
  readonly executables: number | undefined;
  /** Captured, joined or stored; undefined until two beats were heard. */
  readonly eventsPerSecond: number | undefined;
  /** Messages not read yet, or of capture batches and bytes not delivered yet. */
  readonly lag: string;
  readonly dropped: number;
  readonly notes: readonly string[];
}

/** More services than this are not told apart: heartbeats are not trusted to be few. */
const MAX_MEMBERS = 10_000;
const ROLES: readonly Status['role'][] = ['capture', 'correlator', 'sink'];

export class Fleet {
  private readonly beats = new Map<string, { first: Status; last: Status }>();

  accept(beat: Status): void {
    const key = `${beat.role}\0${beat.host}\0${beat.instance}`;
    const known = this.beats.get(key);
    // One that was started anew counts from 0 again.
    if (known?.last.startedNs === beat.startedNs) known.last = beat;
    else if (known || this.beats.size < MAX_MEMBERS) this.beats.set(key, { first: beat, last: beat });
  }

  /** By role and host. Hosts of the ledger's newest rows that sent no heartbeat are silent. */
  members(books: readonly LedgerAnswer[], heardSinceNs: bigint): Member[] {
    const members = [...this.beats.values()].map(({ first, last }) => memberOf(first, last));
    const captures = new Set(members.filter(({ role }) => role === 'capture').map(({ host }) => host));
    const newest = new Map<string, bigint>();
    for (const { 'host.name': host, time } of books)
      if (host !== null && (time ?? 0n) > (newest.get(host) ?? 0n)) newest.set(host, time!);
    const silent = [...newest]
      .filter(([host, timeNs]) => timeNs >= heardSinceNs && !captures.has(host))
      .map(([host]) => silentMember(host));
    return [...members, ...silent].sort(byRoleAndHost);
  }
}

function memberOf(first: Status, last: Status): Member {
  const { role, host, instance, version, state, notes, counters } = last;
  const seconds = Number(last.timeNs - first.timeNs) / 1e9;
  return {
    role,
    host,
    instance,
    version,
    state,
    backend: last.backend?.split(' ')[0] ?? '',
    executables: counters.executables,
    eventsPerSecond:
      seconds > 0 ? (eventsOf(role, counters) - eventsOf(role, first.counters)) / seconds : undefined,
    lag: lagOf(role, counters),
    dropped: droppedOf(role, counters),
    notes,
  };
}

function silentMember(host: string): Member {
  return {
    role: 'capture',
    host,
    instance: host,
    version: '',
    state: 'silent',
    backend: '',
    executables: undefined,
    eventsPerSecond: undefined,
    lag: '',
    dropped: 0,
    notes: ['had events within the last day, and sends no heartbeat'],
  };
}

type Counters = Status['counters'];

function eventsOf(role: Status['role'], counters: Counters): number {
  if (role === 'correlator') return counters.events_in ?? 0;
  if (role === 'sink') return (counters.flows_stored ?? 0) + (counters.requests_stored ?? 0);
  return sumOf(counters, (name) => name.startsWith('captured.'));
}

function lagOf(role: Status['role'], counters: Counters): string {
  if (role !== 'capture') return `${counters.messages_pending ?? 0}`;
  const bytes = counters.spool_bytes ?? 0;
  return bytes >= 1024
    ? `${counters.queued ?? 0} + ${Math.ceil(bytes / 1024)} KiB`
    : `${counters.queued ?? 0}`;
}

/** As the metrics have it: whatever is lost there counts. */
function droppedOf(role: Status['role'], counters: Counters): number {
  return samplesOf(role, counters)
    .filter(({ name }) => name.includes('_dropped_') || name.includes('_dead_letters'))
    .reduce((sum, { value }) => sum + value, 0);
}

function sumOf(counters: Counters, includes: (name: string) => boolean): number {
  return Object.entries(counters)
    .filter(([name]) => includes(name))
    .reduce((sum, [, count]) => sum + count, 0);
}

function byRoleAndHost(a: Member, b: Member): number {
  const order = ROLES.indexOf(a.role) - ROLES.indexOf(b.role);
  return order || a.host.localeCompare(b.host) || a.instance.localeCompare(b.instance);
}
