// The two measurements of a pair, on servers that run and with what traces them attached.
import { drive, WARM_REQUESTS } from './load.ts';
import { type ProcessorTime, readProcessorTime, usedNs } from './processor-time.ts';
import type { Sample, Saturation, Workload } from './results.ts';
import type { Tracer } from './tracer.ts';
import type { Twin } from './twins.ts';

export interface Pair {
  readonly probed: Twin;
  readonly other: Twin;
  readonly tracer: Tracer;
}

type Measured<T> = Omit<T, 'setup'> & {
  /** Requests that the probed server answered, the warm-up included. */
  readonly answered: number;
};

/** Processor time a request at a fixed rate, of both servers under the same load at the same time. */
export async function atFixedRate(
  { probed, other, tracer }: Pair,
  workload: Workload,
  requests: number,
  ratePerSecond: number,
): Promise<Measured<Sample>> {
  const pids = { ...tracer.processes, probed: probed.pid, other: other.pid };
  let before: Record<string, ProcessorTime> = {};
  // The one that is asked first stays the same when roles are swapped: that it is first cancels out.
  const inOrder = [probed, other].toSorted((one, two) => (one.path < two.path ? -1 : 1));
  const urls = inOrder.map((twin) => twin.url(workload));
  const { durationMs } = await drive({ urls, pace: { requests, ratePerSecond } }, async () => {
    before = await read(pids);
  });
  const after = await read(pids);
  const usPerRequest = (name: string): number => usedNs(before[name]!, after[name]!) / 1_000 / requests;
  return {
    workload,
    probedUs: usPerRequest('probed'),
    unprobedUs: usPerRequest('other'),
    ownUs: Object.fromEntries(Object.keys(tracer.processes).map((name) => [name, usPerRequest(name)])),
    stretch: durationMs / ((1_000 * requests) / ratePerSecond),
    answered: requests + WARM_REQUESTS,
  };
}

/**
 * Requests a second of each server alone; load, downstream and tracer share the machine with it. In the order probed,
 * other, other, probed: what comes first is slower here (caches, the scheduler), and that falls on both alike.
 */
export async function atSaturation(
  { probed, other }: Pair,
  workload: Workload,
  durationMs: number,
): Promise<Measured<Saturation>> {
  const served = new Map<Twin, { ok: number; tookMs: number }>();
  for (const twin of [probed, other, other, probed]) {
    const load = { urls: [twin.url(workload)], pace: { durationMs } };
    const summary = await drive(load, () => Promise.resolve());
    const { ok, tookMs } = served.get(twin) ?? { ok: 0, tookMs: 0 };
    served.set(twin, { ok: ok + summary.servers[0]!.ok, tookMs: tookMs + summary.durationMs });
  }
  const perSecond = (twin: Twin): number => (1_000 * served.get(twin)!.ok) / served.get(twin)!.tookMs;
  return {
    workload,
    probedPerSecond: perSecond(probed),
    unprobedPerSecond: perSecond(other),
    answered: served.get(probed)!.ok + 2 * WARM_REQUESTS,
  };
}

async function read(pids: Readonly<Record<string, number>>): Promise<Record<string, ProcessorTime>> {
  const entries = Object.entries(pids).map(
    async ([name, pid]) => [name, await readProcessorTime(pid)] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}
