// A message that cannot be processed, set aside with the reason and all that is needed to look at it or send it again.
import { deadLetterSubject } from '../../schemas/subjects.ts';
import type { BusMessage, Outbound } from '../runtime/bus.ts';
import type { Refusal } from './intake.ts';

/** Larger ones are cut: with the headers added they might exceed what the server takes. */
const MAX_BYTES = 768 * 1024;

export function deadLetter(message: BusMessage, refusal: Refusal, messageId: string): Outbound {
  const { subject, schema, seq, data } = message;
  return {
    subject: deadLetterSubject('correlator', refusal.reason),
    schema,
    data: data.subarray(0, MAX_BYTES),
    messageId,
    rows: 0,
    headers: {
      'Flowtag-Dead-Subject': printable(subject),
      'Flowtag-Dead-Schema': printable(schema),
      'Flowtag-Dead-Seq': String(seq),
      'Flowtag-Dead-Detail': printable(refusal.detail),
      ...(data.length > MAX_BYTES ? { 'Flowtag-Dead-Bytes': String(data.length) } : {}),
    },
  };
}

/** The detail may quote the message: nothing in it may end a header line. */
function printable(text: string): string {
  return text.slice(0, 300).replaceAll(/[^\x20-\x7e]/g, '?');
}
