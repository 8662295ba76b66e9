// What this run saw and what of it never reached the bus, by stage and reason. Pure.
import type { Ledger } from '../../schemas/events.ts';
import type { COUNTER } from './bpf/layout.gen.ts';

export interface LedgerSources {
  readonly kernel: Readonly<Record<Exclude<keyof typeof COUNTER, 'COUNTERS'>, number>>;
  readonly unknownRecords: number;
  /** Rows of batches that will never reach the bus, by reason and kind. */
  readonly undelivered: Ledger['dropped'];
}

/** `captured`: everything that a hook saw, delivered or not. Drops without a count are left out. */
export function ledgerOf({
  kernel,
  unknownRecords,
  undelivered,
}: LedgerSources): Pick<Ledger, 'captured' | 'dropped'> {
  const captured = {
    request_start: kernel.COUNT_REQUEST_START + kernel.COUNT_RING_FULL_REQUEST_START,
    request_end: kernel.COUNT_REQUEST_END + kernel.COUNT_RING_FULL_REQUEST_END,
    socket: kernel.COUNT_SOCKET + kernel.COUNT_RING_FULL_SOCKET,
  };
  const dropped = {
    'ring_full.request_start': kernel.COUNT_RING_FULL_REQUEST_START,
    'ring_full.request_end': kernel.COUNT_RING_FULL_REQUEST_END,
    'ring_full.socket': kernel.COUNT_RING_FULL_SOCKET,
    unknown_record: unknownRecords,
    ...undelivered,
  };
  return { captured, dropped: Object.fromEntries(Object.entries(dropped).filter(([, count]) => count > 0)) };
}

/** Nothing is missing from the ledger for these, but something is missing from an event. */
export function faultsOf(kernel: LedgerSources['kernel']): Record<string, number> {
  return {
    'read_fault.request': kernel.COUNT_READ_FAULT_REQUEST,
    'read_fault.goroutine': kernel.COUNT_READ_FAULT_GOROUTINE,
    map_full: kernel.COUNT_MAP_FULL,
    listeners_full: kernel.COUNT_LISTENERS_FULL,
    'ring_full.process_end': kernel.COUNT_RING_FULL_PROCESS_END,
  };
}

const RECENT_MS = 60_000;

/** Tells, from cumulative drops, what was lost lately: an old loss is in the ledger, but no longer the state. */
export class Losses {
  private total = 0;
  private said: string | undefined;
  private atMs = Number.NEGATIVE_INFINITY;

  /** In words, or undefined when nothing was lost in the last minute. */
  since(dropped: Readonly<Record<string, number>>, nowMs: number): string | undefined {
    const total = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    if (total > this.total) {
      const reasons = Object.entries(dropped).map(([reason, count]) => `${count} ${reason}`);
      this.said = `events lost: ${reasons.join(', ')}; see ring-mib, spool-mib and queue-mib`;
      this.atMs = nowMs;
      this.total = total;
    }
    return nowMs - this.atMs < RECENT_MS ? this.said : undefined;
  }
}
