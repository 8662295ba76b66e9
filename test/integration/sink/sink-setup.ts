// A bus with streams, a sink that can be killed, and what its tests ask of both.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import type { TestContext } from 'vitest';
import { API_SCHEMA, apiReply } from '../../../schemas/api.ts';
import { pack, unpack } from '../../../schemas/codec.ts';
import {
  decodeRows,
  encodeRows,
  type FinishedRequest,
  FLOW_FIELDS,
  FLOW_SCHEMA,
  type Flow,
  REQUEST_FIELDS,
  REQUEST_SCHEMA,
} from '../../../schemas/rows.ts';
import { type Status, status } from '../../../schemas/status.ts';
import {
  apiSubject,
  FLOW_STREAM,
  flowSubject,
  requestSubject,
  SINK_BUCKET,
  STATUS_SUBJECTS,
} from '../../../schemas/subjects.ts';
import { type Bus, connectBus, type Outbound, type Publisher } from '../../../services/runtime/bus.ts';
import { provisionStreams } from '../../../services/runtime/bus-streams.ts';
import { POSITION_KEY } from '../../../services/sink/commit.ts';
import { decodePosition } from '../../../services/sink/position.ts';
import { openStore } from '../../../services/sink/store-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { type Running, run, storeAddress, temporaryDir, until } from './processes.ts';

export interface Setup {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly dataDir: string;
  readonly nats: Awaited<ReturnType<typeof startNatsServer>>;
  startSink(): Running;
  flows(rows: readonly Flow[], change?: Partial<Outbound>): void;
  requests(rows: readonly FinishedRequest[]): void;
  /** Rows and distinct ids in a table. */
  counts(table: 'flows' | 'requests'): Promise<{ rows: number; ids: number }>;
  /** Sequence of the first message that is not stored for good, as the sink wrote it; 0 while there is none. */
  position(): Promise<number>;
  /** Waits until the sink is done with all that was published; what must not come would have come by then. */
  stored(table: 'flows' | 'requests'): Promise<{ rows: number; ids: number }>;
  ask(verb: 'flows' | 'lookup', query: unknown, schema?: string): Promise<Flow[] | string>;
  latest(): Status | undefined;
  storePid(): number;
  close(): Promise<void>;
}

/** Closed when the test ends. */
export async function setUpFor(
  { onTestFinished }: TestContext,
  options: { dataDir?: string } = {},
): Promise<Setup> {
  const setup = await setUp(options);
  onTestFinished(() => setup.close());
  return setup;
}

export async function setUp(options: { dataDir?: string } = {}): Promise<Setup> {
  const temporary = temporaryDir();
  const dataDir = options.dataDir ?? temporary.dir;
  const nats = await startNatsServer();
  const bus = await connectBus({ server: nats.url, name: 'test', log: pino({ level: 'silent' }) });
  await provisionStreams(bus, {
    eventBytes: 64 << 20,
    eventAgeMs: 3_600_000,
    flowBytes: 1 << 30,
    flowAgeMs: 3_600_000,
    replicas: 1,
  });
  const publisher = bus.publisher({ queueBytes: 1 << 30 });
  const sinks: Running[] = [];
  let heard: Status | undefined;
  bus.subscribe(STATUS_SUBJECTS, (message) => {
    const read = status.safeParse(unpack(message.data));
    if (read.success && read.data.role === 'sink') heard = read.data;
  });
  const send = (
    subject: string,
    schema: string,
    data: Uint8Array,
    rows: number,
    change: Partial<Outbound> = {},
  ) => publisher.publish({ subject, schema, data, messageId: randomUUID(), rows, ...change });
  const setup: Setup = {
    bus,
    publisher,
    dataDir,
    nats,
    startSink() {
      const sink = run('sink', ['--server', nats.url, '--data-dir', dataDir]);
      sinks.push(sink);
      return sink;
    },
    flows: (rows, change) =>
      send(flowSubject('node-a', 'orders'), FLOW_SCHEMA, encodeRows(FLOW_FIELDS, rows), rows.length, change),
    requests: (rows) =>
      send(requestSubject('node-a', 'orders'), REQUEST_SCHEMA, encodeRows(REQUEST_FIELDS, rows), rows.length),
    async counts(table) {
      const store = openStore(await storeAddress(dataDir));
      try {
        const id = table === 'flows' ? 'flow_id' : 'request_id';
        const [row] = await store.query(`SELECT count(), uniqExact(${id}) FROM ${table}`, {});
        return { rows: Number(row![0]), ids: Number(row![1]) };
      } finally {
        await store.close();
      }
    },
    async position() {
      const { created } = await bus.streamState(FLOW_STREAM);
      const known = await (await bus.positions(SINK_BUCKET)).get(POSITION_KEY);
      const position = known && decodePosition(known.value);
      return position?.created === created ? position.next : 0;
    },
    async stored(table) {
      if (!(await publisher.flush(30_000))) throw new Error('not acknowledged within 30 s');
      const { lastSeq } = await bus.streamState(FLOW_STREAM);
      const done = async () => (await setup.position().catch(() => 0)) > lastSeq;
      await until('the sink to store everything', done, 50_000).catch((error) => {
        throw new Error(`${error.message}\n${sinks.at(-1)?.log()}`);
      });
      return setup.counts(table);
    },
    async ask(verb, query, schema = API_SCHEMA) {
      const reply = await bus.request(apiSubject(verb), schema, pack(query), 10_000);
      const { rows, error } = apiReply.parse(unpack(reply.data));
      return rows ? (decodeRows(FLOW_FIELDS, rows) as Flow[]) : error!;
    },
    latest: () => heard,
    storePid: () => JSON.parse(readFileSync(`${dataDir}/store/endpoint.json`, 'utf8')).pid,
    async close() {
      for (const sink of sinks) await sink.end('SIGKILL');
      await bus.close();
      await nats.stop();
      temporary.remove();
    },
  };
  return setup;
}
