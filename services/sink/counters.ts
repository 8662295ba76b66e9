// What the sink counts since it started, as its heartbeat shows it.

export class Counters {
  private readonly counts = new Map<string, number>();

  add(name: Counter, by = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }

  get(name: Counter): number {
    return this.counts.get(name) ?? 0;
  }

  read(): Record<string, number> {
    return Object.fromEntries(this.counts);
  }
}

export type Counter =
  | 'messages_read'
  /** Sequences that the stream discarded before they were read. */
  | 'messages_discarded_unread'
  | 'flows_stored'
  | 'requests_stored'
  /** Rows whose id is stored already: repeats of a replay or of a retry. */
  | 'rows_repeated'
  | 'blocks_stored'
  | 'retries'
  | `dead_letters_${string}`
  | 'lookups'
  | 'lookup_errors';
