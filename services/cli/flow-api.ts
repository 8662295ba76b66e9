// Look-ups over the bus, answered by the sink.
import { API_SCHEMA, type ApiReply, apiReply, type FlowsQuery, type LookupQuery } from '../../schemas/api.ts';
import { pack, unpack } from '../../schemas/codec.ts';
import { LEDGER_ANSWER_FIELDS, type LedgerAnswer, type LedgerQuery } from '../../schemas/ledger.ts';
import { decodeRows, FLOW_FIELDS, type Flow } from '../../schemas/rows.ts';
import { type ApiVerb, apiSubject } from '../../schemas/subjects.ts';
import type { Bus } from '../runtime/bus.ts';
import { BusError, FlowtagError } from '../runtime/errors.ts';

const TIMEOUT_MS = 15_000;
/** A reply is one message, and the bus takes 1 MiB: this many rows fit even with long paths, but not with stacks. */
const PAGE_ROWS = 500;

interface Answer {
  readonly flows: Flow[];
  /** Rows asked for in the end; when there are as many flows, there may be more. */
  readonly asked: number;
}

/** At most `query.limit`, fewer when one answer cannot carry them. */
export function lookupFlows(bus: Bus, query: LookupQuery): Promise<Answer> {
  return ask(bus, 'lookup', query.limit, (limit) => ({ ...query, limit }));
}

/** The newest `last` flows that satisfy the query, oldest first; read in pages, newest page first. */
export async function readHistory(bus: Bus, query: FlowsQuery): Promise<Flow[]> {
  const seen = new Set<string | null>();
  let flows: Flow[] = [];
  let untilNs = query.untilNs;
  let pageRows = Math.min(PAGE_ROWS, query.last);
  for (;;) {
    const until = untilNs === undefined ? {} : { untilNs };
    const answer = await ask(bus, 'flows', pageRows, (last) => ({ ...query, ...until, last }));
    const page = answer.flows;
    pageRows = answer.asked;
    const fresh = page.filter(({ 'flowtag.flow.id': id }) => !seen.has(id));
    for (const flow of fresh) seen.add(flow['flowtag.flow.id']);
    flows = [...fresh, ...flows].slice(-query.last);
    const oldestNs = page[0]?.time ?? undefined;
    if (page.length < pageRows || fresh.length === 0 || flows.length >= query.last || oldestNs === undefined)
      return flows;
    untilNs = oldestNs + 1n; // flows of that very nanosecond may be on the next page: asked again, told apart by id
  }
}

/** The newest books of each run. */
export async function readLedger(bus: Bus, query: LedgerQuery): Promise<LedgerAnswer[]> {
  const rows = decodeRows(LEDGER_ANSWER_FIELDS, rowsOf(await request(bus, 'ledger', query)));
  if (typeof rows === 'string') throw unreadable(rows);
  return rows;
}

/** For `most` rows, and then for ever fewer until they fit into one answer. */
async function ask(
  bus: Bus,
  verb: 'flows' | 'lookup',
  most: number,
  queryFor: (rows: number) => FlowsQuery | LookupQuery,
): Promise<Answer> {
  for (let asked = most; ; ) {
    const reply = await request(bus, verb, queryFor(asked));
    const { fit } = reply;
    if (fit !== undefined && fit < asked) {
      asked = fit;
      continue;
    }
    const flows = decodeRows(FLOW_FIELDS, rowsOf(reply));
    if (typeof flows === 'string') throw unreadable(flows);
    return { flows, asked };
  }
}

function rowsOf({ error, rows }: ApiReply): Uint8Array {
  if (error !== undefined) throw new FlowtagError('API', `the sink cannot answer: ${error}`);
  return rows ?? new Uint8Array();
}

function unreadable(problem: string): FlowtagError {
  return new FlowtagError('API', `the sink's rows cannot be read: ${problem}`);
}

async function request(
  bus: Bus,
  verb: ApiVerb,
  query: FlowsQuery | LookupQuery | LedgerQuery,
): Promise<ApiReply> {
  try {
    const message = await bus.request(apiSubject(verb), API_SCHEMA, pack(query), TIMEOUT_MS);
    if (message.schema !== API_SCHEMA)
      throw new FlowtagError(
        'API',
        `the sink answered in ${message.schema || 'no schema'}, not ${API_SCHEMA}; run the same version on both sides`,
      );
    const reply = apiReply.safeParse(unpack(message.data));
    if (!reply.success)
      throw new FlowtagError('API', `the sink's answer is not one: ${reply.error.issues[0]!.message}`);
    return reply.data;
  } catch (cause) {
    if (!(cause instanceof BusError)) throw cause;
    const what = cause.code === 'TIMEOUT' ? `did not answer within ${TIMEOUT_MS / 1000} s` : 'is not there';
    const cure = 'start everything with: npm start, or the sink alone with: flowtag sink';
    throw new FlowtagError('SINK_AWAY', `the sink, which keeps the history, ${what}; ${cure}`, { cause });
  }
}
