// A message that cannot be processed, set aside with the reason and all that is needed to look at it or send it again.
import { deadLetterSubject } from './subjects.ts';

export interface DeadLetter {
  readonly subject: string;
  /** Of the original, as are the bytes. */
  readonly schema: string;
  readonly data: Uint8Array;
  readonly messageId: string;
  /** It brings no rows that anything downstream counts. */
  readonly rows: 0;
  readonly headers: Readonly<Record<string, string>>;
}

/** Larger ones are cut: with the headers added they might exceed 1 MiB, what a NATS server takes unless told otherwise. */
const MAX_BYTES = 768 * 1024;

/** `messageId` must be the same whenever this message is read again: the bus keeps one of them. */
export function deadLetter(
  role: string,
  message: {
    readonly subject: string;
    readonly schema: string;
    readonly seq: number;
    readonly data: Uint8Array;
  },
  reason: string,
  detail: string,
  messageId: string,
): DeadLetter {
  const { subject, schema, seq, data } = message;
  return {
    subject: deadLetterSubject(role, reason),
    schema,
    data: data.subarray(0, MAX_BYTES),
    messageId,
    rows: 0,
    headers: {
      'Flowtag-Dead-Subject': printable(subject),
      'Flowtag-Dead-Schema': printable(schema),
      'Flowtag-Dead-Seq': String(seq),
      'Flowtag-Dead-Detail': printable(detail),
      ...(data.length > MAX_BYTES ? { 'Flowtag-Dead-Bytes': String(data.length) } : {}),
    },
  };
}

/** The detail may quote the message: nothing in it may end a header line. */
function printable(text: string): string {
  return text.slice(0, 300).replaceAll(/[^\x20-\x7e]/g, '?');
}
