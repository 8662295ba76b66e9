// How often the probes of one executable may be hit: a service is never slowed down without bound. Pure.

/** Shorter spans would judge a burst. */
const MIN_SPAN_MS = 500;

export class Budget {
  private readonly maxHitsPerSecond: number;
  private readonly looks = new Map<string, { hits: number; atMs: number }>();

  constructor(maxHitsPerSecond: number) {
    this.maxHitsPerSecond = maxHitsPerSecond;
  }

  /** From a cumulative count: hits per second since the last look when that is too many, else undefined. */
  exceeded(key: string, hits: number, nowMs: number): number | undefined {
    const last = this.looks.get(key);
    if (last === undefined) {
      this.looks.set(key, { hits, atMs: nowMs });
      return undefined;
    }
    const spanMs = nowMs - last.atMs;
    if (spanMs < MIN_SPAN_MS) return undefined;
    this.looks.set(key, { hits, atMs: nowMs });
    const perSecond = Math.round((1000 * (hits - last.hits)) / spanMs);
    return perSecond > this.maxHitsPerSecond ? perSecond : undefined;
  }

  forget(key: string): void {
    this.looks.delete(key);
  }
}
