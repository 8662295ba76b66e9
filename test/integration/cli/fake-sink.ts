// Answers look-ups as the sink does, from a list of flows.
import { API_SCHEMA, type FlowsQuery, type LookupQuery } from '../../../schemas/api.ts';
import { pack, unpack } from '../../../schemas/codec.ts';
import { encodeRows, FLOW_FIELDS, FLOW_SCHEMA, type Flow } from '../../../schemas/rows.ts';
import { apiSubject, flowSubject } from '../../../schemas/subjects.ts';
import { type Bus, connectBus } from '../../../services/runtime/bus.ts';
import { createLogger } from '../../../services/runtime/log.ts';

export interface FakeSink {
  readonly bus: Bus;
  readonly queries: (FlowsQuery | LookupQuery)[];
  flows: Flow[];
  /** Before it answers. */
  delay: () => Promise<void>;
  error: string | undefined;
  /** Rows that an answer can carry. */
  most: number;
  publishLive(...flows: Flow[]): void;
}

export async function startFakeSink(server: string): Promise<FakeSink> {
  const bus = await connectBus({ server, name: 'fake-sink', log: createLogger('test', 'silent') });
  const sink: FakeSink = {
    bus,
    queries: [],
    flows: [],
    delay: async () => undefined,
    error: undefined,
    most: Number.POSITIVE_INFINITY,
    publishLive: (...flows) =>
      bus.publish(flowSubject('node-a', 'orders'), FLOW_SCHEMA, encodeRows(FLOW_FIELDS, flows)),
  };
  bus.serve(apiSubject('flows'), 'sink', async ({ data }) => {
    const query = unpack(data) as FlowsQuery;
    sink.queries.push(query);
    const { sinceNs = 0n, untilNs = 2n ** 63n } = query;
    const asked = sink.flows.filter(({ time }) => time !== null && time >= sinceNs && time <= untilNs);
    await sink.delay();
    return reply(sink, asked.slice(-query.last));
  });
  bus.serve(apiSubject('lookup'), 'sink', async ({ data }) => {
    sink.queries.push(unpack(data) as LookupQuery);
    return reply(sink, sink.flows.slice(-(unpack(data) as LookupQuery).limit));
  });
  await bus.request('$JS.API.INFO', '', Buffer.alloc(0), 2_000); // the server knows both subscriptions
  return sink;
}

function reply({ error, most }: FakeSink, flows: Flow[]): { schema: string; data: Uint8Array } {
  if (flows.length > most) return { schema: API_SCHEMA, data: pack({ v: 1, error: 'too many', fit: most }) };
  const answer = error === undefined ? { v: 1, rows: encodeRows(FLOW_FIELDS, flows) } : { v: 1, error };
  return { schema: API_SCHEMA, data: pack(answer) };
}
