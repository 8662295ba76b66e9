// Look-ups over the bus: `flowtag.api.<verb>`. Never throws: what is wrong is in the answer.
import {
  API_SCHEMA,
  type ApiReply,
  flowsQuery as flowsSchema,
  lookupQuery as lookupSchema,
} from '../../schemas/api.ts';
import { decode, pack } from '../../schemas/codec.ts';
import { ledgerQuery as ledgerSchema } from '../../schemas/ledger.ts';
import { encodeRows, FLOW_FIELDS, type Flow } from '../../schemas/rows.ts';
import type { ApiVerb } from '../../schemas/subjects.ts';
import type { BusMessage } from '../runtime/bus.ts';
import { FlowtagError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import { ledgerRows } from './books.ts';
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
  /** After which rows leave the store. */
  readonly retentionDays: number;
}

/** NATS takes messages of 1 MiB by default; the rest of it is for headers and the envelope. */
const REPLY_BYTES_MAX = 1_000_000;
const DAY_NS = 86_400_000_000_000n;

export async function answer(
  verb: ApiVerb,
  message: Pick<BusMessage, 'schema' | 'data'>,
  options: AnswerOptions,
): Promise<{ schema: string; data: Uint8Array }> {
  options.counters.add('lookups');
  let reply: ApiReply;
  try {
    const looked = await look(verb, message, options);
    reply = typeof looked === 'string' ? { v: 1, error: looked } : looked;
  } catch (error) {
    if (!(error instanceof FlowtagError)) options.log.error({ err: error, verb }, 'look-up failed');
    reply = { v: 1, error: (error as Error).message };
  }
  if (reply.error !== undefined) options.counters.add('lookup_errors');
  return { schema: API_SCHEMA, data: pack(reply) };
}

/** The reply, or in words what is wrong with the query. */
async function look(
  verb: ApiVerb,
  { schema, data }: Pick<BusMessage, 'schema' | 'data'>,
  { store, nowNs, retentionDays }: AnswerOptions,
): Promise<ApiReply | string> {
  if (schema !== API_SCHEMA) return `the schema is '${schema}', not ${API_SCHEMA}`;
  if (verb === 'ledger') {
    const query = decode(ledgerSchema, data);
    if (typeof query === 'string') return query;
    const rows = await ledgerRows(query, store(), nowNs() - BigInt(retentionDays) * DAY_NS);
    return rows.length <= REPLY_BYTES_MAX
      ? { v: 1, rows }
      : 'the books are more than one answer can carry; ask for those of one host, or since later';
  }
  const query = readFlowsQuery(verb, data, nowNs());
  return typeof query === 'string' ? query : await flowsReply(query, store());
}

function readFlowsQuery(verb: 'flows' | 'lookup', data: Uint8Array, nowNs: bigint): Query | string {
  if (verb === 'flows') {
    const flows = decode(flowsSchema, data);
    return typeof flows === 'string' ? flows : flowsQuery(flows);
  }
  const lookup = decode(lookupSchema, data);
  return typeof lookup === 'string' ? lookup : lookupQuery(lookup, nowNs);
}

async function flowsReply({ sql, params }: Query, store: Store): Promise<ApiReply> {
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
