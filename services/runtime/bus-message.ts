// A message as services see it: no type of the client library leaves the bus files.
import { type Msg, type MsgHdrs, headers as newHeaders } from 'nats';
import { SCHEMA_HEADER } from '../../schemas/codec.ts';

export interface BusMessage {
  readonly subject: string;
  /** '' when the header is missing. */
  readonly schema: string;
  readonly data: Uint8Array;
  /** Sequence in the stream; 0 for messages of no stream. */
  readonly seq: number;
  header(name: string): string | undefined;
}

export function toBusMessage(message: Msg, seq: number): BusMessage {
  const { headers } = message;
  const header = (name: string): string | undefined => headers?.get(name) || undefined;
  return { subject: message.subject, schema: header(SCHEMA_HEADER) ?? '', data: message.data, seq, header };
}

/** Of a message that was asked of its stream; `headers` as they are on the wire: a line each. */
export function fromStored(message: {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  readonly headers: string;
}): BusMessage {
  const { subject, seq, data, headers } = message;
  const lines = headers.split('\r\n');
  const header = (name: string): string | undefined =>
    lines
      .find((line) => line.startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim() || undefined;
  return { subject, schema: header(SCHEMA_HEADER) ?? '', data, seq, header };
}

export function toHeaders(schema: string, more: Readonly<Record<string, string>> = {}): MsgHdrs {
  const headers = newHeaders();
  if (schema !== '') headers.set(SCHEMA_HEADER, schema);
  for (const [name, value] of Object.entries(more)) headers.set(name, value);
  return headers;
}
