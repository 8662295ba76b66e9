// From a message of the event stream to a batch that can be trusted, or to the reason why it is set aside.
import {
  decodeEvents,
  type EventBatch,
  KPROBE_SCHEMA,
  schemaOf,
  UPROBE_SCHEMA,
} from '../../schemas/events.ts';
import { parseEventSubject } from '../../schemas/subjects.ts';
import type { BusMessage } from '../runtime/bus.ts';

export type RefusalReason = 'malformed' | 'unknown_schema' | 'host_mismatch' | 'oversize' | 'failed';

export interface Refusal {
  readonly reason: RefusalReason;
  readonly detail: string;
}

export interface Arrived {
  /** Of the subject: the bus checks who may write it. */
  readonly host: string;
  readonly batch: EventBatch;
}

export function readEvents({ subject, schema, data }: BusMessage): Arrived | Refusal {
  const address = parseEventSubject(subject);
  if (address === undefined) return { reason: 'malformed', detail: 'not the subject of an event batch' };
  if (schema !== UPROBE_SCHEMA && schema !== KPROBE_SCHEMA)
    return { reason: 'unknown_schema', detail: schema === '' ? 'no schema named' : `schema ${schema}` };
  if (schema !== schemaOf(address.kind))
    return { reason: 'malformed', detail: `${schema} on a subject of ${address.kind} events` };
  const batch = decodeEvents(data);
  if (typeof batch === 'string') return { reason: 'malformed', detail: batch };
  if (batch.kind !== address.kind)
    return { reason: 'malformed', detail: `${batch.kind} events on a subject of ${address.kind} events` };
  // A server's permissions vouch for the subject a host may publish to, for nothing in the payload.
  if (batch.host !== address.host)
    return { reason: 'host_mismatch', detail: `payload of ${batch.host} on the subject of ${address.host}` };
  return { host: address.host, batch };
}
