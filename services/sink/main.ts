// `flowtag sink`: flows and finished requests from the bus into the store, once each; look-ups out of it. Of several
// sinks one writes. A ClickHouse server is asked by all of them, an embedded store only by the one that writes.

import { API_QUEUE } from '../../schemas/permissions.ts';
import { API_VERBS, apiSubject } from '../../schemas/subjects.ts';
import { type Bus, connectBus } from '../runtime/bus.ts';
import { nowNs } from '../runtime/clock.ts';
import { startHeartbeat } from '../runtime/heartbeat.ts';
import { startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import type { Ops } from '../runtime/ops.ts';
import { type AnswerOptions, answer } from './answer.ts';
import { type SinkConfig, sinkOptions } from './config.ts';
import { Counters } from './counters.ts';
import { type CurrentStore, openCurrentStore } from './current-store.ts';
import { requireSameStore, runIntake } from './intake.ts';
import { SinkState } from './sink-state.ts';
import { storeIdOf } from './store-id.ts';
import { takeTurns } from './turns.ts';

export function main(argv: readonly string[]): Promise<number> {
  return startService('sink', sinkOptions, argv, run);
}

async function run(config: SinkConfig, log: Logger, signal: AbortSignal, ops: Ops): Promise<void> {
  const store = openCurrentStore(config, log);
  const noStore = new AbortController();
  store.ended.catch((error) => noStore.abort(error));
  const stop = AbortSignal.any([signal, noStore.signal]);
  try {
    const bus = await connectBus({
      server: config.server,
      creds: config.creds,
      tlsCa: config.tlsCa,
      name: `flowtag sink ${config.host}`,
      signal: stop,
      log,
    });
    try {
      await serve(config, bus, store, log, stop, ops);
    } finally {
      await bus.close();
    }
  } catch (error) {
    // What follows from the missing store is not the cause.
    throw noStore.signal.aborted ? noStore.signal.reason : error;
  } finally {
    await store.close();
  }
  noStore.signal.throwIfAborted();
}

async function serve(
  config: SinkConfig,
  bus: Bus,
  store: CurrentStore,
  log: Logger,
  signal: AbortSignal,
  ops: Ops,
): Promise<void> {
  const counters = new Counters();
  const state = new SinkState(config.host, counters, store);
  signal.addEventListener('abort', () => state.stopping(), { once: true });
  const storeId = storeIdOf(config);
  const get = () => store.get();
  const { retentionDays } = config;
  const lookUps = { store: get, counters, log, nowNs, retentionDays };
  const answering = <T>(work: () => Promise<T>): Promise<T> => whileAnswering(bus, lookUps, work);
  const turns = {
    bus,
    host: config.host,
    log,
    check: async () => (config.adopt ? undefined : requireSameStore(bus, storeId)),
    onStandby: (problem: string | undefined) => state.standsBy(problem),
  };
  const write = (turn: AbortSignal) => runIntake({ bus, store: get, storeId, counters, state, log }, turn);
  const heartbeat = startHeartbeat(bus, ops, () => state.read());
  try {
    if (config.store === 'embedded') await takeTurns(turns, signal, (turn) => answering(() => write(turn)));
    else await answering(() => takeTurns(turns, signal, write));
  } finally {
    heartbeat.close();
  }
}

/** Answers look-ups for as long as `work` takes. */
async function whileAnswering<T>(bus: Bus, lookUps: AnswerOptions, work: () => Promise<T>): Promise<T> {
  const open = API_VERBS.map((verb) =>
    bus.serve(apiSubject(verb), API_QUEUE, (message) => answer(verb, message, lookUps)),
  );
  try {
    return await work();
  } finally {
    for (const { close } of open) close();
  }
}
