// Messages that cannot be stored go to the dead-letter stream as they came, with where they came from and why.
import { deadLetter } from '../../schemas/dead-letter.ts';
import type { BusMessage, Publisher } from '../runtime/bus.ts';
import { isWorthLogging, type Logger } from '../runtime/log.ts';
import type { Counters } from './counters.ts';
import type { Refused } from './message.ts';

const FLUSH_MS = 5_000;

export class DeadLetters {
  private readonly publisher: Publisher;
  private readonly streamCreated: string;
  private readonly counters: Counters;
  private readonly log: Logger;

  constructor(publisher: Publisher, streamCreated: string, counters: Counters, log: Logger) {
    this.publisher = publisher;
    this.streamCreated = streamCreated;
    this.counters = counters;
    this.log = log;
  }

  add(message: BusMessage, { reason, problem }: Refused): void {
    const { subject, seq } = message;
    this.counters.add(`dead_letters_${reason}`);
    this.publisher.publish(deadLetter('sink', message, reason, problem, `sink.${this.streamCreated}.${seq}`));
    const times = this.counters.get(`dead_letters_${reason}`);
    if (isWorthLogging(times))
      this.log.error({ reason, subject, seq, problem, times }, 'message cannot be stored, set aside');
  }

  /** Whether all so far are acknowledged; waits a little for it. */
  safe(): Promise<boolean> {
    return this.publisher.flush(FLUSH_MS);
  }
}
