// Messages of the event stream that no partition reads, because their subject names none: a later version's, or
// somebody's mistake. The owner of one partition looks for them, sets them aside, and remembers how far it has looked.
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { decode, pack } from '../../schemas/codec.ts';
import { deadLetter } from '../../schemas/dead-letter.ts';
import { EVENT_STREAM, EVENT_SUBJECTS, isOfPartition } from '../../schemas/subjects.ts';
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
type Looked = z.infer<typeof position>;

export class Strays {
  private setAside = 0;
  private readonly options: StraysOptions;
  /** Further than what is saved, when that had to wait. */
  private looked: Looked | undefined;
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
    const known = [saved && decode(position, saved.value), this.looked];
    const next = Math.max(1, firstSeq, ...known.map((one) => nextIn(one, created, lastSeq)));
    if (next > lastSeq) return;
    // After the end was read: whatever lies before it is of one of these.
    const subjects = await bus.streamSubjects(EVENT_STREAM, EVENT_SUBJECTS);
    let found = 0;
    for (const subject of subjects.filter((one) => !isOfPartition(one)))
      for (let seq = next; seq <= lastSeq; found++) {
        if (signal.aborted) return; // the next owner begins again
        const message = await bus.streamMessage(EVENT_STREAM, subject, seq);
        if (message === undefined || message.seq > lastSeq) break;
        const messageId = `${fnv1a64(created)}.${message.seq}.d`;
        publisher.publish(deadLetter('correlator', message, 'malformed', DETAIL, messageId));
        seq = message.seq + 1;
      }
    this.setAside += found;
    this.looked = { v: 1, created, next: lastSeq + 1 };
    if (await publisher.flush(FLUSH_MS)) await positions.set(KEY, pack(this.looked), saved?.revision ?? 0);
  }

  private onProblem(error: unknown): void {
    if (!(error instanceof BusError)) throw error;
    const { message } = error;
    if (message !== this.said) this.options.log.warn({ problem: message }, 'cannot look for strays');
    this.said = message;
  }
}

/** Where a position says to go on; 0 when it is none of this stream. */
function nextIn(known: Looked | string | undefined, created: string, lastSeq: number): number {
  if (typeof known !== 'object' || known.created !== created) return 0;
  return known.next <= lastSeq + 1 ? known.next : 0;
}
