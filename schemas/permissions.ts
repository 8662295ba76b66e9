// Who may do what on the bus: for each identity the subjects that it may publish and subscribe, the least that its
// work needs. Pure; `flowtag enroll` writes it into the server's configuration, docs/threat-model.md shows it.
import {
  API_SUBJECTS,
  CHECKPOINT_BUCKET,
  DEAD_LETTER_STREAM,
  EVENT_STREAM,
  encodeToken,
  FLOW_STREAM,
  LEASE_BUCKET,
  LIVE_FLOWS,
  LIVE_REQUESTS,
  SINK_BUCKET,
  STATUS_SUBJECTS,
} from './subjects.ts';

/** `capture` is the daemon of one host and its name is that host; a `viewer` is a person at the command line. */
export const BUS_ROLES = ['capture', 'correlator', 'sink', 'viewer', 'admin'] as const;
export type BusRole = (typeof BUS_ROLES)[number];

export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export const BUCKETS = [CHECKPOINT_BUCKET, LEASE_BUCKET, SINK_BUCKET];
const STREAMS = [EVENT_STREAM, FLOW_STREAM, DEAD_LETTER_STREAM, ...BUCKETS.map(streamOf)];
/** Queue group of the sinks: each request is answered by one of them. */
export const API_QUEUE = 'sink';

/**
 * Services share an account of the server with the streams; hosts and viewers have accounts of their own and reach
 * nothing there but what crosses. Permissions alone do not do: the server checks the subject of a message, not the
 * reply subject that it asks for, and would send the acknowledgement of a host's own event to `$JS.API.STREAM.PURGE.…`.
 * From another account the reply subject means nothing in this one.
 */
export const ACCOUNT_OF = {
  capture: 'FLOWTAG_HOSTS',
  correlator: 'FLOWTAG',
  sink: 'FLOWTAG',
  viewer: 'FLOWTAG_VIEWERS',
  admin: 'FLOWTAG',
} as const satisfies Readonly<Record<BusRole, string>>;

/** What crosses: a `service` takes messages into FLOWTAG and replies out of it, a `stream` lets them out. */
export const CROSSINGS = [
  { account: ACCOUNT_OF.capture, kind: 'service', subject: 'flowtag.ev.*.*.*' },
  { account: ACCOUNT_OF.capture, kind: 'service', subject: 'flowtag.status.capture.*' },
  { account: ACCOUNT_OF.viewer, kind: 'service', subject: API_SUBJECTS },
  { account: ACCOUNT_OF.viewer, kind: 'stream', subject: LIVE_FLOWS },
  { account: ACCOUNT_OF.viewer, kind: 'stream', subject: LIVE_REQUESTS },
  { account: ACCOUNT_OF.viewer, kind: 'stream', subject: STATUS_SUBJECTS },
] as const;
/** Where an answer goes that leaves the account: the server makes these names up and no asker can choose one. */
const ANSWERS = '_R_.>';

/** Replies to this identity, whatever they answer, begin with it: no other may subscribe there. */
export function inboxPrefix(role: BusRole, name: string): string {
  return `_INBOX_${role}.${encodeToken(name)}`;
}

export function permissionsOf(role: BusRole, name: string): Permissions {
  const inbox = `${inboxPrefix(role, name)}.>`;
  const work = WORK[role](encodeToken(name));
  return { publish: work.publish, subscribe: [inbox, ...work.subscribe] };
}

/**
 * Of the server of a site, on its link to the hub (infra/nats/leaf-node); its name is that of its JetStream domain. The
 * hub asks it for a consumer of its events, which it answers and feeds, and hears the heartbeats of its daemons.
 */
export function sitePermissions(domain: string): Permissions {
  const consumers = `$JS.${domain}.API.CONSUMER`;
  return {
    publish: ['$JSC.R.*', '$JS.S.*', 'flowtag.status.capture.*'],
    subscribe: [
      `${consumers}.CREATE.${EVENT_STREAM}`,
      `${consumers}.DELETE.${EVENT_STREAM}.*`,
      `$JS.FC.${EVENT_STREAM}.>`,
    ],
  };
}

const WORK: Readonly<Record<BusRole, (token: string) => Permissions>> = {
  capture: (host) => ({
    publish: [`flowtag.ev.*.*.${host}`, `flowtag.status.capture.${host}`],
    subscribe: [],
  }),
  correlator: () => ({
    publish: [
      ...reading(EVENT_STREAM, 'flowtag.ev.*.*.*'),
      `$JS.API.CONSUMER.INFO.${EVENT_STREAM}.*`,
      `$JS.API.STREAM.MSG.GET.${EVENT_STREAM}`,
      info(FLOW_STREAM),
      info(DEAD_LETTER_STREAM),
      info(streamOf(SINK_BUCKET)),
      'flowtag.flow.*.*',
      'flowtag.request.*.*',
      'flowtag.ledger.*',
      'flowtag.dead.correlator.*',
      'flowtag.status.correlator.*',
      ...values(CHECKPOINT_BUCKET, 'p.*'),
      ...leases(),
    ],
    subscribe: [],
  }),
  sink: () => ({
    publish: [
      ...reading(FLOW_STREAM, 'flowtag.>'),
      'flowtag.dead.sink.*',
      'flowtag.status.sink.*',
      ...values(SINK_BUCKET, 'p.*'),
      ...leases(),
      ANSWERS,
    ],
    subscribe: [`${API_SUBJECTS} ${API_QUEUE}`],
  }),
  viewer: () => ({
    publish: [API_SUBJECTS],
    subscribe: [LIVE_FLOWS, LIVE_REQUESTS, STATUS_SUBJECTS], // requests: for other programs, as README.md promises
  }),
  admin: () => ({
    publish: STREAMS.flatMap((stream) => [
      `$JS.API.STREAM.CREATE.${stream}`,
      `$JS.API.STREAM.UPDATE.${stream}`,
      info(stream),
    ]),
    subscribe: [],
  }),
};

/** An ordered reader; the filter is part of the subject, so that nothing else can be read. */
function reading(stream: string, filter: string): string[] {
  return [
    info(stream),
    `$JS.API.CONSUMER.CREATE.${stream}.*.${filter}`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
    `$JS.API.CONSUMER.DELETE.${stream}.*`,
  ];
}

function values(bucket: string, ...keys: readonly string[]): string[] {
  const stream = streamOf(bucket);
  return [info(stream), `$JS.API.STREAM.MSG.GET.${stream}`, ...keys.map((key) => `$KV.${bucket}.${key}`)];
}

/** `m.<member>`: that it lives; `l.<what>`: who owns it. What is given back is deleted by its sequence. */
function leases(): string[] {
  return [...values(LEASE_BUCKET, 'm.*', 'l.*'), `$JS.API.STREAM.MSG.DELETE.${streamOf(LEASE_BUCKET)}`];
}

function info(stream: string): string {
  return `$JS.API.STREAM.INFO.${stream}`;
}

function streamOf(bucket: string): string {
  return `KV_${bucket}`;
}
