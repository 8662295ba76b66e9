// Messages that cannot be stored go to the dead-letter stream as they came, with where they came from and why.
import { deadLetterSubject } from '../../schemas/subjects.ts';
import type { BusMessage, Publisher } from '../runtime/bus.ts';
import type { Logger } from '../runtime/log.ts';
import type { Counters } from './counters.ts';
import type { Refused } from './message.ts';

/** Larger ones are cut: with the headers added they might exceed what the server takes. */
const BYTES_MAX = 768 * 1024;
const LOG_EVERY_MS = 60_000;
const FLUSH_MS = 5_000;

export class DeadLetters {
  private readonly publisher: Publisher;
  private readonly streamCreated: string;
  private readonly counters: Counters;
  private readonly log: Logger;
  private readonly loggedMs = new Map<Refused['reason'], number>();

  constructor(publisher: Publisher, streamCreated: string, counters: Counters, log: Logger) {
    this.publisher = publisher;
    this.streamCreated = streamCreated;
    this.counters = counters;
    this.log = log;
  }

  add(message: BusMessage, { reason, problem }: Refused): void {
    const { subject, schema, seq, data } = message;
    this.counters.add(`dead_letters_${reason}`);
    this.publisher.publish({
      subject: deadLetterSubject('sink', reason),
      schema,
      data: data.subarray(0, BYTES_MAX),
      // The same on every reading: the bus keeps one.
      messageId: `sink.${this.streamCreated}.${seq}`,
      rows: 1,
      headers: {
        'Flowtag-Dead-Subject': headerText(subject),
        'Flowtag-Dead-Schema': headerText(schema),
        'Flowtag-Dead-Seq': String(seq),
        'Flowtag-Dead-Detail': headerText(problem),
        ...(data.length > BYTES_MAX ? { 'Flowtag-Dead-Bytes': String(data.length) } : {}),
      },
    });
    this.report(reason, { subject, seq, problem });
  }

  /** Whether all so far are acknowledged; waits a little for it. */
  safe(): Promise<boolean> {
    return this.publisher.flush(FLUSH_MS);
  }

  /** The first of each reason, and one a minute: a flood of bad messages is not a flood of lines. */
  private report(reason: Refused['reason'], fields: Record<string, unknown>): void {
    const nowMs = performance.now();
    const beforeMs = this.loggedMs.get(reason);
    if (beforeMs !== undefined && nowMs - beforeMs < LOG_EVERY_MS) return;
    this.loggedMs.set(reason, nowMs);
    this.log.error({ reason, ...fields }, 'message cannot be stored, set aside');
  }
}

/** Headers are lines: what a sender wrote must not end one. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 300);
}
