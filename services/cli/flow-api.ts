// Look-ups over the bus, answered by the sink.
import { API_SCHEMA, apiReply, type FlowsQuery, type LookupQuery } from '../../schemas/api.ts';
import { pack, unpack } from '../../schemas/codec.ts';
import { decodeRows, FLOW_FIELDS, type Flow } from '../../schemas/rows.ts';
import { apiSubject } from '../../schemas/subjects.ts';
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

/** For `most` rows, and then for ever fewer until they fit into one answer. */
async function ask(
  bus: Bus,
  verb: 'flows' | 'lookup',
  most: number,
  queryFor: (rows: number) => FlowsQuery | LookupQuery,
): Promise<Answer> {
  for (let asked = most; ; ) {
    const reply = apiReply.safeParse(await request(bus, verb, queryFor(asked)));
    if (!reply.success)
      throw new FlowtagError('API', `the sink's answer is not one: ${reply.error.issues[0]!.message}`);
    const { error, fit, rows } = reply.data;
    if (fit !== undefined && fit < asked) {
      asked = fit;
      continue;
    }
    if (error !== undefined) throw new FlowtagError('API', `the sink cannot answer: ${error}`);
    const flows = decodeRows(FLOW_FIELDS, rows ?? new Uint8Array());
    if (typeof flows === 'string') throw new FlowtagError('API', `the sink's rows cannot be read: ${flows}`);
    return { flows, asked };
  }
}

async function request(
  bus: Bus,
  verb: 'flows' | 'lookup',
  query: FlowsQuery | LookupQuery,
): Promise<unknown> {
  try {
    const message = await bus.request(apiSubject(verb), API_SCHEMA, pack(query), TIMEOUT_MS);
    if (message.schema !== API_SCHEMA)
      throw new FlowtagError(
        'API',
        `the sink answered in ${message.schema || 'no schema'}, not ${API_SCHEMA}; run the same version on both sides`,
      );
    return unpack(message.data);
  } catch (cause) {
    if (!(cause instanceof BusError)) throw cause;
    const what = cause.code === 'TIMEOUT' ? `did not answer within ${TIMEOUT_MS / 1000} s` : 'is not there';
    const cure = 'start everything with: npm start, or the sink alone with: flowtag sink';
    throw new FlowtagError('SINK_AWAY', `the sink, which keeps the history, ${what}; ${cure}`, { cause });
  }
}
