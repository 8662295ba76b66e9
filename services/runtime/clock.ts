// The time of day in the unit of every contract on the bus.

/** Unix epoch ns, exact to the millisecond. */
export function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
