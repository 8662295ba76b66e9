// Messages of the event stream that no partition reads, because their subject names none: a later version's, or
// somebody's mistake. The owner of one partition looks for them, sets them aside, and remembers how far it has looked.
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { decode, pack } from '../../schemas/codec.ts';
import { deadLetter } from '../../schemas/dead-letter.ts';
import { EVENT_STREAM, EVENT_SUBJECTS, parseEventSubject } from '../../schemas/subjects.ts';
import type { Bus, Positions, Publisher } from '../runtime/bus.ts';
import { BusError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import { fnv1a64 } from './ids.ts';

export interface StraysOptions {
  readonly bus: Bus;
  readonly log: Logger;
  readonly positions: Positions;
  readonly publisher: Pick<Publisher, 'publish' | 'flush'>;
}

const KEY = 'p.strays';
const DETAIL = 'its subject belongs to no partition';
const LOOK_MS = 5_000;
const FLUSH_MS = 5_000;

const position = z.object({
  v: z.literal(1),
  /** When the stream was. */
  created: z.string(),
  /** Sequence of the first message that was not looked at. */
  next: z.number().int().positive(),
});

export class Strays {
  private setAside = 0;
  private readonly options: StraysOptions;
  private said = '';

  constructor(options: StraysOptions) {
    this.options = options;
  }

  get counters(): Record<string, number> {
    return { dead_letters_malformed: this.setAside };
  }

  /** Looks until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look(signal).catch((error) => this.onProblem(error));
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private async look(signal: AbortSignal): Promise<void> {
    const { bus, positions, publisher } = this.options;
    const { created, firstSeq, lastSeq } = await bus.streamState(EVENT_STREAM);
    const saved = await positions.get(KEY);
    const known = saved && decode(position, saved.value);
    const isKnown = typeof known === 'object' && known.created === created && known.next <= lastSeq + 1;
    const next = isKnown ? Math.max(known.next, firstSeq) : Math.max(1, firstSeq);
    if (next > lastSeq) return;
    // After the end was read: whatever lies before it is of one of these.
    const subjects = await bus.streamSubjects(EVENT_STREAM, EVENT_SUBJECTS);
    for (const subject of subjects.filter((one) => parseEventSubject(one) === undefined))
      for (let seq = next; seq <= lastSeq && !signal.aborted; ) {
        const message = await bus.streamMessage(EVENT_STREAM, subject, seq);
        if (message === undefined || message.seq > lastSeq) break;
        publisher.publish(
          deadLetter('correlator', message, 'malformed', DETAIL, `${fnv1a64(created)}.${message.seq}.d`),
        );
        this.setAside++;
        seq = message.seq + 1;
      }
    if (signal.aborted || !(await publisher.flush(FLUSH_MS))) return;
    const value = pack({ v: 1, created, next: lastSeq + 1 });
    await positions.set(KEY, value, saved?.revision ?? 0);
  }

  private onProblem(error: unknown): void {
    if (!(error instanceof BusError)) throw error;
    const { message } = error;
    if (message !== this.said) this.options.log.warn({ problem: message }, 'cannot look for strays');
    this.said = message;
  }
}
