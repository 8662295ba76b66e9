// Look-ups over the bus: `flowtag.api.flows` and `flowtag.api.lookup`. Never throws: what is wrong is in the answer.
import {
  API_SCHEMA,
  type ApiReply,
  flowsQuery as flowsSchema,
  lookupQuery as lookupSchema,
} from '../../schemas/api.ts';
import { decode, pack } from '../../schemas/codec.ts';
import { encodeRows, FLOW_FIELDS, type Flow } from '../../schemas/rows.ts';
import type { ApiVerb } from '../../schemas/subjects.ts';
import type { BusMessage } from '../runtime/bus.ts';
import { FlowtagError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import type { Counters } from './counters.ts';
import { flowsQuery, lookupQuery, type Query } from './queries.ts';
import { decodeRow } from './row-binary.ts';
import { FLOWS } from './schema.ts';
import type { Store } from './store-client.ts';

export interface AnswerOptions {
  readonly store: () => Store;
  readonly counters: Counters;
  readonly log: Logger;
  readonly nowNs: () => bigint;
}

/** NATS takes messages of 1 MiB by default; the rest of it is for headers and the envelope. */
const REPLY_BYTES_MAX = 1_000_000;

export async function answer(
  verb: ApiVerb,
  message: Pick<BusMessage, 'schema' | 'data'>,
  options: AnswerOptions,
): Promise<{ schema: string; data: Uint8Array }> {
  options.counters.add('lookups');
  let reply: ApiReply;
  try {
    const query = readQuery(verb, message, options.nowNs());
    reply = typeof query === 'string' ? { v: 1, error: query } : await look(query, options.store());
  } catch (error) {
    if (!(error instanceof FlowtagError)) options.log.error({ err: error, verb }, 'look-up failed');
    reply = { v: 1, error: (error as Error).message };
  }
  if (reply.error !== undefined) options.counters.add('lookup_errors');
  return { schema: API_SCHEMA, data: pack(reply) };
}

/** The query, or in words what is wrong with it. */
function readQuery(
  verb: ApiVerb,
  message: Pick<BusMessage, 'schema' | 'data'>,
  nowNs: bigint,
): Query | string {
  if (message.schema !== API_SCHEMA) return `the schema is '${message.schema}', not ${API_SCHEMA}`;
  if (verb === 'flows') {
    const flows = decode(flowsSchema, message.data);
    return typeof flows === 'string' ? flows : flowsQuery(flows);
  }
  const lookup = decode(lookupSchema, message.data);
  return typeof lookup === 'string' ? lookup : lookupQuery(lookup, nowNs);
}

async function look({ sql, params }: Query, store: Store): Promise<ApiReply> {
  const cells = await store.query(sql, params);
  const rows = encodeRows(
    FLOW_FIELDS,
    cells.map((row) => decodeRow(FLOWS, row) as Flow),
  );
  if (rows.length <= REPLY_BYTES_MAX) return { v: 1, rows };
  const fit = Math.max(1, Math.floor((cells.length * REPLY_BYTES_MAX) / rows.length));
  return {
    v: 1,
    fit,
    error: `${cells.length} flows are more than one answer can carry; ask for about ${fit} at a time`,
  };
}
