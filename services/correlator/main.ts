// The correlator: joins request events with socket events and publishes flows and finished requests.

import { EVENT_SUBJECTS } from '../../schemas/subjects.ts';
import { connectBus } from '../runtime/bus.ts';
import { nowNs } from '../runtime/clock.ts';
import { startHeartbeat } from '../runtime/heartbeat.ts';
import { aborted, startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import type { Ops } from '../runtime/ops.ts';
import { type CorrelatorOptions, correlatorOptions, streamLimits } from './config.ts';
import { openPartition, type Partition } from './partition.ts';

const ROLE = 'correlator';
const MAX_BOOTS = 2_000;
const SILENT_NS = 86_400_000_000_000n; // a day: a host that is cut off goes on where it was

export function main(argv: readonly string[]): Promise<number> {
  return startService(ROLE, correlatorOptions, argv, run);
}

async function run(config: CorrelatorOptions, log: Logger, signal: AbortSignal, ops: Ops): Promise<void> {
  const { server, creds, tlsCa, host, windowMs, lateMs, maxRequests } = config;
  const instance = `${host}:${process.pid}`;
  const startedNs = nowNs();
  const bus = await connectBus({ server, creds, tlsCa, name: `flowtag ${ROLE} ${instance}`, signal, log });
  let partition: Partition | undefined;
  const heartbeat = startHeartbeat(bus, ops, () => ({
    role: ROLE,
    instance,
    host,
    startedNs,
    state: signal.aborted ? 'stopping' : (partition?.state ?? 'starting'),
    notes: partition?.notes ?? ['waiting for the bus and its event stream'],
    counters: partition?.counters ?? {},
  }));
  try {
    const limits = {
      windowNs: BigInt(windowMs) * 1_000_000n,
      lateNs: BigInt(lateMs) * 1_000_000n,
      maxRequests,
      maxBoots: MAX_BOOTS,
      silentNs: SILENT_NS,
    };
    partition = await openPartition({
      bus,
      log,
      filter: EVENT_SUBJECTS,
      key: 'p.all',
      windowMs,
      limits,
      streams: streamLimits(config),
      signal,
    });
    if (partition !== undefined) await Promise.race([partition.failed, aborted(signal)]);
  } finally {
    heartbeat.close();
    await partition?.close();
    await bus.close();
  }
}
