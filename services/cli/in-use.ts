// Who was using a connection at some time: the request of the last flow before it. Pure.
import { formatEndpoint } from '../../schemas/ip-address.ts';
import type { Flow } from '../../schemas/rows.ts';

export interface InUse {
  /** Of each connection the last flow that began at that time or before. */
  readonly inUse: readonly Flow[];
  readonly others: readonly Flow[];
}

/** `flows` come oldest first, and so do both parts. */
export function inUseAt(flows: readonly Flow[], atNs: bigint): InUse {
  const last = new Map<string, Flow>();
  for (const flow of flows) if (flow.time !== null && flow.time <= atNs) last.set(connectionOf(flow), flow);
  const inUse = new Set(last.values());
  return {
    inUse: flows.filter((flow) => inUse.has(flow)),
    others: flows.filter((flow) => !inUse.has(flow)),
  };
}

/** Host and both ends, in one order whichever side is local: hosts may use the same private addresses. */
function connectionOf(flow: Flow): string {
  const local = formatEndpoint(flow['network.local.address'] ?? '-', flow['network.local.port'] ?? '-');
  const peer = formatEndpoint(flow['network.peer.address'] ?? '-', flow['network.peer.port'] ?? '-');
  return [flow['host.name'], ...[local, peer].sort()].join(' ');
}
