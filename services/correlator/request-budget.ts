// One bound on the requests that all partitions of a process remember together: a busy host may use all of it, as
// long as others need less.

interface Remembering {
  readonly size: number;
  dropOldest(): void;
}

/** To be called after each message: those who remember most let their oldest fall off. */
export function keepWithin(maxRequests: number, joins: readonly Remembering[]): void {
  let excess = joins.reduce((sum, { size }) => sum + size, 0) - maxRequests;
  for (; excess > 0; excess--)
    joins.reduce((most, join) => (join.size > most.size ? join : most)).dropOldest();
}
