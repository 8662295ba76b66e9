// Takes over where the last sink stopped, then reads the stream into the store until told to stop.
import { setTimeout as sleep } from 'node:timers/promises';
import { FLOW_STREAM, SINK_BUCKET } from '../../schemas/subjects.ts';
import type { Bus, Positions } from '../runtime/bus.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { aborted } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import { Committer, POSITION_KEY } from './commit.ts';
import type { Counters } from './counters.ts';
import { DeadLetters } from './dead-letters.ts';
import { Pipeline } from './pipeline.ts';
import { decodePosition, otherStore, planStart, type Start } from './position.ts';
import type { SinkState } from './sink-state.ts';
import type { Store } from './store-client.ts';

export interface IntakeOptions {
  readonly bus: Bus;
  /** Throws StoreError while there is none. */
  readonly store: () => Store;
  readonly storeId: string;
  readonly counters: Counters;
  readonly state: SinkState;
  readonly log: Logger;
}

/** Both kinds of the stream: it holds nothing else. */
const FILTER = 'flowtag.>';
/** Blocks of 10k rows keep the store's cost a row low; half a second is how long a row may be invisible to look-ups. */
const LIMITS = { maxRows: 10_000, maxDays: 32, maxWaitMs: 500 };
const RETRY_MS = 500;
/** Of a stop, for what is collected; what is not stored by then stays in the stream. */
const STOP_MS = 5_000;

/** Resolves after an orderly stop; throws when another sink took over (FENCED) or the stream was replaced. */
export async function runIntake(options: IntakeOptions, signal: AbortSignal): Promise<void> {
  const { bus, store, storeId, counters, state, log } = options;
  const taken = await takeOver(options, signal);
  if (!taken) return;
  const { start, suspectUpto, positions, revision } = taken;
  const publisher = bus.publisher({ onDrop: () => counters.add('dead_letters_dropped') });
  const deadLetters = new DeadLetters(publisher, start.created, counters, log);
  /** Aborted when waiting on makes no sense; the reason is what to throw, if anything. */
  const giveUp = new AbortController();
  const committer = new Committer({
    start,
    revision,
    storeId,
    positions,
    store,
    deadLettersSafe: () => deadLetters.safe(),
    counters,
    onTrouble: (problem) => state.troubled(problem),
    wait: (ms) => sleep(ms, undefined, { signal: giveUp.signal }),
  });
  const { fixed, startSeq } = start;
  const onRoom = () => reader.resume();
  const pipeline = new Pipeline({
    limits: LIMITS,
    fixed,
    suspectUpto,
    committer,
    deadLetters,
    counters,
    onRoom,
  });
  const reader = bus.reader({
    stream: FLOW_STREAM,
    filter: FILTER,
    startSeq,
    log,
    onMessage: (message) => pipeline.accept(message),
    paused: () => pipeline.full,
    onSkipped: (fromSeq, toSeq) => counters.add('messages_discarded_unread', toSeq - fromSeq + 1),
    onReplaced: (error) => giveUp.abort(error),
  });
  counters.show('messages_pending', () => reader.pending);
  state.ready();
  const committing = pipeline.run(giveUp.signal);
  const givenUp = aborted(giveUp.signal);
  try {
    await Promise.race([committing, aborted(signal), givenUp]);
    await reader.close();
    pipeline.stop();
    const deadline = setTimeout(() => giveUp.abort(), STOP_MS);
    await Promise.race([committing, givenUp]).finally(() => clearTimeout(deadline));
    if (giveUp.signal.aborted) endGivenUp(giveUp.signal.reason, committing, log);
  } finally {
    await reader.close();
    publisher.close();
  }
}

/** Throws OTHER_STORE when rows are in another store than `storeId`: going on here would part them, unnoticed. */
export async function requireSameStore(bus: Bus, storeId: string): Promise<void> {
  const stream = await bus.streamState(FLOW_STREAM);
  const known = await (await bus.positions(SINK_BUCKET)).get(POSITION_KEY);
  const other = otherStore(known && decodePosition(known.value), stream, storeId);
  if (other === undefined) return;
  throw new FlowtagError(
    'OTHER_STORE',
    `The rows so far are in another store (${other}, this one is ${storeId}): not writing here. Start the sink with ` +
      'that data directory, or with --adopt to go on in this store.',
  );
}

interface Taken {
  readonly start: Start;
  /** Of messages up to here rows are stored already: a position may be lost or older than the store. */
  readonly suspectUpto: number;
  readonly positions: Positions;
  readonly revision: number;
}

/** Waits for the store, and for the stream to exist: who publishes to it makes it. Undefined when stopped before. */
async function takeOver(
  { bus, store, state, log }: IntakeOptions,
  signal: AbortSignal,
): Promise<Taken | undefined> {
  while (!signal.aborted) {
    try {
      const stream = await bus.streamState(FLOW_STREAM);
      const positions = await bus.positions(SINK_BUCKET);
      const known = await positions.get(POSITION_KEY);
      const start = planStart(known && decodePosition(known.value), stream);
      const { startSeq, fixed, why } = start;
      const suspectUpto = await store().storedUpto(startSeq, stream.lastSeq);
      log.info({ startSeq, lastSeq: stream.lastSeq, suspectUpto, fixed, why }, 'reading the stream of flows');
      state.troubled(undefined);
      return { start, suspectUpto, positions, revision: known?.revision ?? 0 };
    } catch (error) {
      if (!(error instanceof FlowtagError)) throw error;
      state.troubled(error.message);
      await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }
  return undefined;
}

function endGivenUp(why: unknown, committing: Promise<void>, log: Logger): void {
  // It may still wait for a request; how that ends is nobody's concern any more.
  committing.catch(() => {});
  if (why instanceof FlowtagError) throw why;
  log.warn('stopped before all that was read was stored; it stays in the stream');
}
