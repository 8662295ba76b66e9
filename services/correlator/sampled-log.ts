// The first of each kind is logged, then at most one a minute: a host that sends nonsense must not fill a disk.
import type { Logger } from '../runtime/log.ts';

const INTERVAL_MS = 60_000;

export class SampledLog {
  private readonly log: Logger;
  private readonly lastMs = new Map<string, number>();
  private readonly unlogged = new Map<string, number>();

  constructor(log: Logger) {
    this.log = log;
  }

  /** `kind` must come from a closed list. */
  warn(kind: string, fields: Readonly<Record<string, unknown>>, sentence: string, nowMs: number): void {
    const last = this.lastMs.get(kind);
    if (last !== undefined && nowMs - last < INTERVAL_MS) {
      this.unlogged.set(kind, (this.unlogged.get(kind) ?? 0) + 1);
      return;
    }
    this.log.warn({ ...fields, unlogged: this.unlogged.get(kind) ?? 0 }, sentence);
    this.lastMs.set(kind, nowMs);
    this.unlogged.delete(kind);
  }
}
