// Which entries of its permissions each operation of a role needs. Every entry stands once, where it shows best.
import { type BusRole, inboxPrefix } from '../../schemas/permissions.ts';
import { NAMES } from './fleet.ts';
import * as does from './operations.ts';
import type { Run } from './stage.ts';

export interface Operation {
  readonly what: string;
  readonly run: Run;
  /** Without any one of these it does not come about. */
  readonly needs: readonly string[];
}

const inbox = (role: BusRole) => `${inboxPrefix(role, NAMES[role])}.>`;
const ofStream = (stream: string, ...verbs: readonly string[]) =>
  verbs.map((verb) => `$JS.API.STREAM.${verb}.${stream}`);
const ofReader = (stream: string, filter: string) => [
  ...ofStream(stream, 'INFO'),
  `$JS.API.CONSUMER.CREATE.${stream}.*.${filter}`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
  `$JS.API.CONSUMER.DELETE.${stream}.*`,
];
const ofPosition = (bucket: string) => [...ofStream(`KV_${bucket}`, 'INFO', 'MSG.GET'), `$KV.${bucket}.p.*`];
const OF_LEASES = [
  ...ofStream('KV_FLOWTAG_LEASE', 'INFO', 'MSG.GET', 'MSG.DELETE'),
  '$KV.FLOWTAG_LEASE.m.*',
  '$KV.FLOWTAG_LEASE.l.*',
];

function one(what: string, run: Run, ...needs: readonly string[]): Operation {
  return { what, run, needs };
}

export const OPERATIONS: Readonly<Record<BusRole, readonly Operation[]>> = {
  admin: [
    one(
      'make the streams and buckets',
      does.provisioningAnew,
      inbox('admin'),
      ...does.STREAMS.flatMap((stream) => ofStream(stream, 'CREATE', 'INFO')),
    ),
    one(
      'bring those of an older version up to date',
      does.provisioningOverOlder,
      ...does.STREAMS.flatMap((stream) => ofStream(stream, 'UPDATE')),
    ),
  ],
  capture: [
    one(
      'publish events',
      does.publishing('flowtag.ev.kprobe.3.host-a'),
      'flowtag.ev.*.*.host-a',
      inbox('capture'),
    ),
    one('send heartbeats', does.beating('capture', 'host-a'), 'flowtag.status.capture.host-a'),
  ],
  correlator: [
    one(
      'see that the streams are there',
      does.provisioning,
      ...['FLOWTAG_FLOW', 'FLOWTAG_DEAD', 'KV_FLOWTAG_SINK'].flatMap((stream) => ofStream(stream, 'INFO')),
    ),
    one(
      'read a partition',
      does.reading(
        'FLOWTAG_EV',
        'flowtag.ev.*.3.*',
        'flowtag.ev.uprobe.3.host-a',
        'flowtag.ev.uprobe.4.host-a',
      ),
      ...ofReader('FLOWTAG_EV', 'flowtag.ev.*.*.*'),
      '$JS.API.CONSUMER.INFO.FLOWTAG_EV.*',
    ),
    one(
      'look for strays',
      does.lookingForStrays,
      ...ofStream('FLOWTAG_EV', 'MSG.GET'),
      'flowtag.dead.correlator.*',
    ),
    one(
      'publish flows',
      does.publishing('flowtag.flow.host-a.shop'),
      'flowtag.flow.*.*',
      inbox('correlator'),
    ),
    one('publish finished requests', does.publishing('flowtag.request.host-a.shop'), 'flowtag.request.*.*'),
    one('publish ledgers', does.publishing('flowtag.ledger.host-a'), 'flowtag.ledger.*'),
    one('send heartbeats', does.beating('correlator', 'join-1:7'), 'flowtag.status.correlator.*'),
    one(
      'keep a checkpoint',
      does.positioning('FLOWTAG_CHECKPOINT', 'p.3'),
      ...ofPosition('FLOWTAG_CHECKPOINT'),
    ),
    one('own a partition', does.leasing('correlator', 'p3'), ...OF_LEASES),
  ],
  sink: [
    one(
      'read flows',
      does.reading('FLOWTAG_FLOW', 'flowtag.>', 'flowtag.flow.host-a.shop'),
      ...ofReader('FLOWTAG_FLOW', 'flowtag.>'),
    ),
    one(
      'set aside what cannot be stored',
      does.publishing('flowtag.dead.sink.malformed'),
      'flowtag.dead.sink.*',
      inbox('sink'),
    ),
    one('send heartbeats', does.beating('sink', 'store-1:7'), 'flowtag.status.sink.*'),
    one('keep its position', does.positioning('FLOWTAG_SINK', 'p.all'), ...ofPosition('FLOWTAG_SINK')),
    one('be the one that writes', does.leasing('sink', 'sink'), ...OF_LEASES),
    one('answer look-ups', does.answeringLookUps, 'flowtag.api.* sink', '_R_.>'),
  ],
  viewer: [
    one('ask look-ups', does.askingLookUps, 'flowtag.api.*', inbox('viewer')),
    one('watch flows', does.watchingFlows, 'flowtag.flow.>'),
    one(
      'listen to finished requests',
      does.hearing('flowtag.request.>', 'flowtag.request.host-a.shop'),
      'flowtag.request.>',
    ),
    one(
      'listen to heartbeats',
      does.hearing('flowtag.status.>', 'flowtag.status.sink.store-1'),
      'flowtag.status.>',
    ),
  ],
};
