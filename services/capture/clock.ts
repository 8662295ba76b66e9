// Kernel events carry CLOCK_MONOTONIC; the bus carries Unix epoch ns. One place converts.
import { CLOCK, clockNs } from './libbpf.ts';

const SAMPLES = 9;

/** Epoch time of monotonic zero in ns: of several readings the one with the least time between the two. */
export function monotonicZeroNs(read: (clock: number) => bigint = clockNs): bigint {
  let best = 0n;
  let bestGap = -1n;
  for (let i = 0; i < SAMPLES; i++) {
    const before = read(CLOCK.monotonic);
    const realtime = read(CLOCK.realtime);
    const gap = read(CLOCK.monotonic) - before;
    if (bestGap < 0n || gap < bestGap) {
      bestGap = gap;
      best = realtime - before - gap / 2n;
    }
  }
  return best;
}

/** Epoch time of the boot in ns: what process start times count from (they include suspend). */
export function bootTimeNs(): bigint {
  return clockNs(CLOCK.realtime) - clockNs(CLOCK.boottime);
}

/** A first event id above every id of earlier runs on this boot (bpf/events.h, struct settings). */
export function firstEventId(): bigint {
  return clockNs(CLOCK.monotonic) / 100n;
}
