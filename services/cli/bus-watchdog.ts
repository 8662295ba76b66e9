// nats-server 2.9 does not recover by itself from a full disk: it goes on running and answers no storage request, also
// when there is space again. Nothing is lost by that, capture and streams keep what there is, but nothing moves either
// until it is started again.
import { setTimeout as sleep } from 'node:timers/promises';
import { EVENT_STREAM } from '../../schemas/subjects.ts';
import type { Bus } from '../runtime/bus.ts';
import type { Say } from './terminal.ts';

export interface WatchdogTimes {
  readonly everyMs: number;
  /** Unanswered in a row before it is started again. */
  readonly patience: number;
  /** How long a server that was just started may take to read its streams. */
  readonly graceMs: number;
}

const TIMES: WatchdogTimes = { everyMs: 5_000, patience: 4, graceMs: 60_000 };

export async function watchBus(
  bus: Pick<Bus, 'streamState'>,
  restart: () => void,
  say: Say,
  end: AbortSignal,
  { everyMs, patience, graceMs }: WatchdogTimes = TIMES,
): Promise<void> {
  const pause = (ms: number) => sleep(ms, undefined, { signal: end }).catch(() => undefined);
  for (let unanswered = 0; !end.aborted; await pause(everyMs)) {
    const answered = await bus.streamState(EVENT_STREAM).then(
      () => true,
      () => false,
    );
    unanswered = answered ? 0 : unanswered + 1;
    if (unanswered < patience || end.aborted) continue;
    say('nats answers no storage requests any more: starting it again. Is the disk full? See its log');
    restart();
    unanswered = 0;
    await pause(graceMs);
  }
}
