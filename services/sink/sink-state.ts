// How the sink is, for its heartbeat: derived from what stands in its way.

import { randomUUID } from 'node:crypto';
import type { Status } from '../../schemas/status.ts';
import { nowNs } from '../runtime/clock.ts';
import type { Counters } from './counters.ts';
import type { CurrentStore } from './current-store.ts';

export class SinkState {
  private readonly host: string;
  private readonly instance: string;
  private readonly startedNs = nowNs();
  private readonly counters: Counters;
  private readonly store: Pick<CurrentStore, 'away'>;
  private role: 'starting' | 'standby' | 'writing' = 'starting';
  private ending = false;
  private trouble: string | undefined;

  constructor(host: string, counters: Counters, store: Pick<CurrentStore, 'away'>) {
    this.host = host;
    this.instance = `${host}-${randomUUID().slice(0, 8)}`;
    this.counters = counters;
    this.store = store;
  }

  /** What keeps rows from being stored, in words; undefined when nothing does. */
  troubled(problem: string | undefined): void {
    this.trouble = problem;
  }

  ready(): void {
    this.role = 'writing';
  }

  /** Another sink writes, or may; `problem`: why this one could not go on from there. */
  standsBy(problem: string | undefined): void {
    this.role = 'standby';
    this.trouble = problem;
  }

  stopping(): void {
    this.ending = true;
  }

  read(): Omit<Status, 'v' | 'version' | 'timeNs'> {
    const notes = [...new Set([this.trouble, this.store.away])].filter((note) => note !== undefined);
    const state = this.stateWith(notes);
    if (state === 'ready' && this.role === 'standby') notes.push('another sink writes, this one stands by');
    return {
      role: 'sink',
      instance: this.instance,
      host: this.host,
      startedNs: this.startedNs,
      state,
      notes,
      counters: this.counters.read(),
    };
  }

  private stateWith(notes: readonly string[]): Status['state'] {
    if (this.ending) return 'stopping';
    if (this.role === 'starting') return 'starting';
    return notes.length > 0 ? 'degraded' : 'ready';
  }
}
