// What the sink counts since it started, as its heartbeat shows it.

export class Counters {
  private readonly counts = new Map<string, number>();
  private readonly shown = new Map<string, () => number>();

  add(name: Counter, by = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }

  get(name: Counter): number {
    return this.counts.get(name) ?? 0;
  }

  /** A number that is somebody else's, asked when it is shown. */
  show(name: Counter, read: () => number): void {
    this.shown.set(name, read);
  }

  read(): Record<string, number> {
    const shown = [...this.shown].map(([name, read]) => [name, read()] as const);
    return Object.fromEntries([...this.counts, ...shown]);
  }
}

export type Counter =
  | 'messages_read'
  /** Sequences that the stream discarded before they were read. */
  | 'messages_discarded_unread'
  /** Of the stream, not yet read. */
  | 'messages_pending'
  | 'flows_stored'
  | 'requests_stored'
  | 'ledger_stored'
  /** Rows whose id is stored already: repeats of a replay or of a retry. */
  | 'rows_repeated'
  | 'blocks_stored'
  | 'retries'
  | `dead_letters_${string}`
  | 'lookups'
  | 'lookup_errors';
