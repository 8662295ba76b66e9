// What each identity must not be able to do, tried over the real protocol with its real credential.
import { connect, type NatsConnection } from 'nats';
import type { BusRole } from '../../schemas/permissions.ts';
import { accessOptions, type BusAccess } from '../../services/runtime/bus-access.ts';
import { quiet } from '../support/quiet.ts';
import type { SecureNats } from '../support/secure-nats.ts';

/** A connection that keeps what the server refuses it. */
export class Intruder {
  readonly nats: NatsConnection;
  private readonly refusals: string[] = [];

  static async connect(url: string, access: BusAccess): Promise<Intruder> {
    const options = { servers: url, reconnect: false, noAsyncTraces: true, timeout: 4_000 };
    return new Intruder(await connect({ ...options, ...accessOptions(access, url, quiet) }));
  }

  static as(server: SecureNats, role: BusRole, name: string): Promise<Intruder> {
    return Intruder.connect(server.url, { creds: server.creds(role, name), tlsCa: server.tlsCa });
  }

  constructor(nats: NatsConnection) {
    this.nats = nats;
    void this.watch();
  }

  /** What the server says to it: '' when it takes it. */
  async publish(subject: string, body = '{}', reply?: string): Promise<string> {
    this.nats.publish(subject, Buffer.from(body), reply === undefined ? {} : { reply });
    return this.answer();
  }

  async subscribe(subject: string, queue?: string): Promise<string> {
    this.nats.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: () => undefined,
    });
    return this.answer();
  }

  close(): Promise<void> {
    return this.nats.close();
  }

  /** The server answers in order: a refusal comes before the answer to a ping that follows. */
  private async answer(): Promise<string> {
    await this.nats.flush();
    await new Promise(setImmediate); // the status iterator is read in a later turn
    return this.refusals.splice(0).join('; ');
  }

  private async watch(): Promise<void> {
    for await (const { type, permissionContext } of this.nats.status() as AsyncIterable<{
      type: string;
      permissionContext?: { operation: string };
    }>)
      if (type === 'error') this.refusals.push(`${permissionContext?.operation ?? 'operation'} refused`);
  }
}

export interface Action {
  readonly who: readonly [BusRole, string];
  readonly what: string;
  readonly kind: 'publish' | 'subscribe';
  readonly subject: string;
  readonly queue?: string;
}

const HOST = ['capture', 'host-a'] as const;
const CORRELATOR = ['correlator', 'join-1'] as const;
const SINK = ['sink', 'store-1'] as const;
const VIEWER = ['viewer', 'alice'] as const;
const ADMIN = ['admin', 'ops'] as const;

function publishing(who: Action['who'], what: string, subject: string): Action {
  return { who, what, kind: 'publish', subject };
}

function listening(who: Action['who'], what: string, subject: string, queue?: string): Action {
  return { who, what, kind: 'subscribe', subject, ...(queue === undefined ? {} : { queue }) };
}

export const ACTIONS: readonly Action[] = [
  publishing(HOST, "publish another host's request events", 'flowtag.ev.uprobe.3.host-b'),
  publishing(HOST, "publish another host's socket events", 'flowtag.ev.kprobe.3.host-b'),
  publishing(HOST, 'publish flows', 'flowtag.flow.host-a.shop'),
  publishing(HOST, 'publish finished requests', 'flowtag.request.host-a.shop'),
  publishing(HOST, 'publish a ledger', 'flowtag.ledger.host-a'),
  publishing(HOST, 'publish a dead letter', 'flowtag.dead.correlator.malformed'),
  publishing(HOST, "publish another host's status", 'flowtag.status.capture.host-b'),
  publishing(HOST, "publish a correlator's status", 'flowtag.status.correlator.join-1'),
  publishing(HOST, 'ask for look-ups', 'flowtag.api.flows'),
  publishing(HOST, 'see the streams', '$JS.API.STREAM.NAMES'),
  publishing(HOST, 'see the account', '$JS.API.INFO'),
  publishing(HOST, 'create a stream', '$JS.API.STREAM.CREATE.MINE'),
  publishing(HOST, 'delete the stream of events', '$JS.API.STREAM.DELETE.FLOWTAG_EV'),
  publishing(HOST, 'purge the stream of events', '$JS.API.STREAM.PURGE.FLOWTAG_EV'),
  publishing(HOST, 'read a message of the stream', '$JS.API.STREAM.MSG.GET.FLOWTAG_EV'),
  publishing(HOST, 'create a consumer', '$JS.API.CONSUMER.CREATE.FLOWTAG_EV.spy.flowtag.ev.>'),
  publishing(HOST, 'write a checkpoint', '$KV.FLOWTAG_CHECKPOINT.p.0'),
  publishing(HOST, 'take a lease', '$KV.FLOWTAG_LEASE.l.p.0'),
  publishing(HOST, 'publish into an inbox', '_INBOX_viewer.alice.x'),
  listening(HOST, 'see all events', 'flowtag.ev.>'),
  listening(HOST, 'see its own events', 'flowtag.ev.*.*.host-a'),
  listening(HOST, 'see flows', 'flowtag.flow.>'),
  listening(HOST, 'see everything', '>'),
  listening(HOST, "see another host's inbox", '_INBOX_capture.host-b.>'),
  listening(HOST, "see the server's events", '$SYS.>'),
  publishing(CORRELATOR, 'publish events', 'flowtag.ev.uprobe.3.host-a'),
  publishing(CORRELATOR, 'delete the stream of events', '$JS.API.STREAM.DELETE.FLOWTAG_EV'),
  publishing(CORRELATOR, 'purge the stream of flows', '$JS.API.STREAM.PURGE.FLOWTAG_FLOW'),
  publishing(CORRELATOR, 'change the stream of events', '$JS.API.STREAM.UPDATE.FLOWTAG_EV'),
  publishing(CORRELATOR, 'delete a message', '$JS.API.STREAM.MSG.DELETE.FLOWTAG_EV'),
  publishing(
    CORRELATOR,
    'read the stream of events without its filter',
    '$JS.API.CONSUMER.CREATE.FLOWTAG_EV',
  ),
  publishing(CORRELATOR, 'read flows', '$JS.API.CONSUMER.CREATE.FLOWTAG_FLOW.spy.flowtag.>'),
  publishing(CORRELATOR, "write the sink's position", '$KV.FLOWTAG_SINK.p.all'),
  publishing(CORRELATOR, "publish a sink's dead letter", 'flowtag.dead.sink.malformed'),
  listening(CORRELATOR, 'answer look-ups', 'flowtag.api.*', 'sink'),
  listening(CORRELATOR, 'see events past its readers', 'flowtag.ev.>'),
  publishing(SINK, 'publish flows', 'flowtag.flow.host-a.shop'),
  publishing(SINK, 'publish events', 'flowtag.ev.uprobe.3.host-a'),
  publishing(SINK, 'write a checkpoint', '$KV.FLOWTAG_CHECKPOINT.p.0'),
  publishing(SINK, 'delete the stream of flows', '$JS.API.STREAM.DELETE.FLOWTAG_FLOW'),
  publishing(SINK, 'read events', '$JS.API.CONSUMER.CREATE.FLOWTAG_EV.spy.flowtag.ev.>'),
  publishing(SINK, 'answer where nobody asked', '_INBOX_viewer.alice.x'),
  listening(SINK, 'answer look-ups outside the group of sinks', 'flowtag.api.*'),
  publishing(VIEWER, 'publish flows', 'flowtag.flow.host-a.shop'),
  publishing(VIEWER, 'publish events', 'flowtag.ev.uprobe.3.host-a'),
  publishing(VIEWER, 'publish a status', 'flowtag.status.capture.host-a'),
  publishing(VIEWER, 'write a checkpoint', '$KV.FLOWTAG_CHECKPOINT.p.0'),
  publishing(VIEWER, "delete a correlator's consumer", '$JS.API.CONSUMER.DELETE.FLOWTAG_EV.read-1'),
  publishing(VIEWER, 'create a consumer', '$JS.API.CONSUMER.CREATE.FLOWTAG_FLOW.spy.flowtag.>'),
  publishing(VIEWER, 'purge the stream of flows', '$JS.API.STREAM.PURGE.FLOWTAG_FLOW'),
  listening(VIEWER, 'see events', 'flowtag.ev.>'),
  listening(VIEWER, 'answer look-ups', 'flowtag.api.*', 'sink'),
  listening(VIEWER, "see another viewer's inbox", '_INBOX_viewer.bob.>'),
  publishing(ADMIN, 'delete the stream of events', '$JS.API.STREAM.DELETE.FLOWTAG_EV'),
  publishing(ADMIN, 'purge the stream of events', '$JS.API.STREAM.PURGE.FLOWTAG_EV'),
  publishing(ADMIN, 'make a stream of its own', '$JS.API.STREAM.CREATE.MINE'),
  publishing(ADMIN, 'publish events', 'flowtag.ev.uprobe.3.host-a'),
  publishing(ADMIN, 'read flows', '$JS.API.CONSUMER.CREATE.FLOWTAG_FLOW.spy.flowtag.>'),
  listening(ADMIN, 'see flows', 'flowtag.flow.>'),
];
