// Probe hits per inbound request by hook, counted in the kernel while a known number of requests is served.
import { byHook } from '../../services/capture/probe-sites.ts';
import { Capture } from '../support/capture.ts';
import { drive } from './load.ts';
import { type Hits, WORKLOADS } from './results.ts';
import type { Twin } from './twins.ts';

const PACE = { requests: 400, ratePerSecond: 200 };

export async function countHits(twin: Twin): Promise<Hits> {
  const capture = await Capture.open();
  try {
    const { index } = await capture.attach(twin.path);
    const hits: Record<string, Record<string, number>> = {};
    for (const workload of WORKLOADS) {
      // The warm-up opens the pool's connections: what that hits is no request's share.
      let before: readonly number[] = [];
      await drive({ urls: [twin.url(workload)], pace: PACE }, async () => {
        before = capture.probes.hits(index);
      });
      const after = capture.probes.hits(index);
      hits[workload] = byHook(after.map((count, hook) => (count - before[hook]!) / PACE.requests));
    }
    return hits as Hits;
  } finally {
    await capture.close();
  }
}
