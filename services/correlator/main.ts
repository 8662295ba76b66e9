// The correlator: joins request events with socket events and publishes flows and finished requests. Any number of
// instances share the partitions of the event stream.

import { setTimeout as sleep } from 'node:timers/promises';
import { CHECKPOINT_BUCKET } from '../../schemas/subjects.ts';
import { type Bus, connectBus, type Positions } from '../runtime/bus.ts';
import { provisionStreams, type StreamLimits } from '../runtime/bus-streams.ts';
import { nowNs } from '../runtime/clock.ts';
import { BusError } from '../runtime/errors.ts';
import { startHeartbeat } from '../runtime/heartbeat.ts';
import { aborted, startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import type { Ops } from '../runtime/ops.ts';
import { type CorrelatorOptions, correlatorOptions, streamLimits } from './config.ts';
import { Ownership } from './ownership.ts';

const ROLE = 'correlator';
const MAX_BOOTS = 2_000;
const SILENT_NS = 86_400_000_000_000n; // a day: a host that is cut off goes on where it was
const RETRY_MS = 1_000;

export function main(argv: readonly string[]): Promise<number> {
  return startService(ROLE, correlatorOptions, argv, run);
}

async function run(config: CorrelatorOptions, log: Logger, signal: AbortSignal, ops: Ops): Promise<void> {
  const { server, creds, tlsCa, host, windowMs, lateMs, maxRequests } = config;
  const instance = `${host}:${process.pid}`;
  const startedNs = nowNs();
  const bus = await connectBus({ server, creds, tlsCa, name: `flowtag ${ROLE} ${instance}`, signal, log });
  let ownership: Ownership | undefined;
  const heartbeat = startHeartbeat(bus, ops, () => ({
    role: ROLE,
    instance,
    host,
    startedNs,
    state: signal.aborted ? 'stopping' : (ownership?.state ?? 'starting'),
    notes: ownership?.notes ?? ['waiting for the bus and its event stream'],
    counters: ownership?.counters ?? {},
  }));
  try {
    const positions = await provision(bus, streamLimits(config), log, signal);
    if (positions === undefined) return;
    const limits = {
      windowNs: BigInt(windowMs) * 1_000_000n,
      lateNs: BigInt(lateMs) * 1_000_000n,
      maxRequests,
      maxBoots: MAX_BOOTS,
      silentNs: SILENT_NS,
    };
    ownership = new Ownership({ bus, log, role: ROLE, host, positions, windowMs, limits });
    await Promise.race([ownership.failed, aborted(signal)]);
  } finally {
    heartbeat.close();
    await ownership?.close();
    await bus.close();
  }
}

/** The checkpoints. Waits for the bus for as long as `signal` allows. Throws STREAM_MISMATCH. */
async function provision(
  bus: Bus,
  streams: StreamLimits,
  log: Logger,
  signal: AbortSignal,
): Promise<Positions | undefined> {
  let said = '';
  while (!signal.aborted) {
    try {
      await provisionStreams(bus, streams);
      return await bus.positions(CHECKPOINT_BUCKET);
    } catch (error) {
      if (!(error instanceof BusError) || error.code === 'STREAM_MISMATCH') throw error;
      if (error.message !== said) log.warn({ problem: error.message }, 'streams are not there yet, retrying');
      said = error.message;
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}
