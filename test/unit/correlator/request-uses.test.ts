// Which socket events of a request give a flow, and which are still its doing after its end.
import { describe, expect, it } from 'vitest';
import { FLAG, SOCKET_CLOSE, SOCKET_CONNECT, SOCKET_USE, VIA } from '../../../schemas/events.ts';
import type { Flow } from '../../../schemas/rows.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../services/correlator/checkpoint.ts';
import { Join, type JoinLimits } from '../../../services/correlator/join.ts';
import { batch, end, type Row, start } from './batches.ts';

const S = 1_000_000_000n;
const LIMITS: JoinLimits = {
  windowNs: 150n * S,
  lateNs: 1n * S,
  maxRequests: 1_000,
  maxBoots: 10,
  silentNs: 1_000n * S,
};
const OWN = 5;
const WORKER = 6;
const CLIENT = { clientAddress: '192.0.2.4', clientPort: 51_000 };

/** A join that knows a request from second 10 on, and, when `endedAt` is given, its end. */
function requestUntil(endedAt?: bigint) {
  const join = new Join(LIMITS);
  let seq = 0;
  const tell = (kind: 'uprobe' | 'kprobe', rows: readonly Row[], uptoNs = 0n): readonly Flow[] => {
    seq++;
    return join.accept('node-a', batch({ kind, seq, uptoNs }, rows), seq).flows;
  };
  tell('uprobe', [start(7, 10n * S, { goid: OWN, ...CLIENT })]);
  if (endedAt !== undefined) tell('uprobe', [end(7, endedAt)]);
  return { join, tell, sockets: (...rows: readonly Row[]) => tell('kprobe', rows).map(outcome) };
}

/** Events get ids by themselves: rows differ in it and in nothing else. */
let events = 0;
const socket = (type: number, connectionId: bigint | number, more: Row = {}): Row => ({
  type,
  connectionId,
  eventId: ++events,
  requestId: 7,
  via: VIA.direct,
  goid: OWN,
  timeNs: 11n * S,
  peerAddress: '10.0.0.9',
  peerPort: 5_432,
  ...more,
});
const use = (connectionId: bigint | number, more: Row = {}) => socket(SOCKET_USE, connectionId, more);
const connect = (connectionId: bigint | number, more: Row = {}) => socket(SOCKET_CONNECT, connectionId, more);
/** What a goroutine does that the request has started. */
const worker = (connectionId: number, timeNs: bigint, more: Row = {}) =>
  use(connectionId, { via: VIA.lineage, depth: 1, goid: WORKER, timeNs, ...more });

function outcome(flow: Flow): string {
  const { 'flowtag.attribution.verdict': verdict, 'flowtag.attribution.reason': reason } = flow;
  return reason === null ? verdict! : `${verdict}/${reason}`;
}

describe('one flow for a request and a connection', () => {
  it('leaves out and counts further uses, also after the connect', () => {
    const { join, sockets } = requestUntil();
    expect(sockets(connect(1), use(1), use(2n ** 64n - 1n), use(1), use(2n ** 64n - 1n))).toEqual([
      'exact',
      'exact',
    ]);
    expect(join.counters).toMatchObject({ usesMerged: 3, flowsOut: 2 });
  });

  it('is given again for another request, and after it for none', () => {
    const { tell, sockets } = requestUntil();
    tell('uprobe', [start(8, 10n * S)]);
    expect(sockets(use(1), use(1, { requestId: 8 }), use(1, { requestId: 0, via: VIA.none }))).toEqual([
      'exact',
      'exact',
      'none/no_request',
    ]);
  });

  it('is given for every connect, and for uses of connections that have no id', () => {
    const { sockets } = requestUntil();
    expect(sockets(connect(1, { errno: 111 }), connect(1), use(0), use(0))).toHaveLength(4);
  });

  it('forgets the oldest of more than 256 connections, and says so', () => {
    const { join, sockets } = requestUntil();
    const all = Array.from({ length: 257 }, (_, i) => i + 1);
    expect(sockets(...all.map((id) => use(id)))).toHaveLength(257);
    expect(join.counters.connectionsForgotten).toBe(1);
    expect(sockets(use(2), use(257))).toEqual([]);
    expect(sockets(use(1))).toEqual(['exact']);
  });

  it('is counted in the row of the request, when the flow is its own', () => {
    const { join, tell } = requestUntil();
    tell('kprobe', [connect(1), use(1), use(2), worker(3, 14n * S), socket(SOCKET_CLOSE, 2)]);
    tell('uprobe', [end(7, 12n * S)]);
    const last = batch({ kind: 'kprobe', seq: 4, uptoNs: 15n * S }, [worker(4, 15n * S)]);
    expect(join.accept('node-a', last, 4).requests).toMatchObject([{ 'flowtag.request.flows': 3 }]);
  });
});

describe('a connection that is older than capture', () => {
  const older = { flags: FLAG.predatesCapture };

  it('says so beside the verdict', () => {
    const { join, sockets } = requestUntil();
    expect(sockets(use(1, { ...older, via: VIA.pooled }))).toEqual(['pooled/predates_capture']);
    expect(join.counters.unattributed.predates_capture).toBe(0);
    expect(sockets(use(1, { ...older, requestId: 0, via: VIA.none }))).toEqual(['none/predates_capture']);
    expect(join.counters.unattributed.predates_capture).toBe(1);
    expect(sockets(use(1, { ...older, requestId: 9 }))).toEqual(['none/lost_event']);
  });

  it('is inbound when its peer is the client of the request', () => {
    const { join, sockets } = requestUntil();
    const client = { peerAddress: '192.0.2.4', peerPort: 51_000 };
    expect(sockets(use(1, { ...older, ...client }))).toEqual([]);
    expect(join.counters).toMatchObject({ inboundUses: 1, usesMerged: 0 });
    expect(sockets(use(1, client), use(2, { ...older, ...client, peerPort: 51_001 }))).toHaveLength(2);
  });

  it('is inbound also from a link-local address, which Go writes with its zone', () => {
    const { join, tell, sockets } = requestUntil();
    tell('uprobe', [start(8, 10n * S, { clientAddress: 'fe80::1%eth0', clientPort: 51_000 })]);
    expect(sockets(use(1, { ...older, requestId: 8, peerAddress: 'fe80::1', peerPort: 51_000 }))).toEqual([]);
    expect(join.counters.inboundUses).toBe(1);
  });
});

describe('after the end of the request', () => {
  const ENDED = 20n * S;

  it('is still its doing for a second', () => {
    const { sockets } = requestUntil(ENDED);
    expect(sockets(worker(1, ENDED + S), worker(2, ENDED + S + 1n))).toEqual([
      'lineage',
      'none/request_ended',
    ]);
  });

  it('keeps the id of the request, and none of its facts', () => {
    const { tell } = requestUntil(ENDED);
    const [flow] = tell('kprobe', [worker(1, ENDED + 2n * S)]);
    expect(flow).toMatchObject({
      'flowtag.request.id': expect.stringMatching(/0000000000000007$/),
      'url.path': null,
      'flowtag.request.start': null,
      'flowtag.attribution.depth': null,
    });
  });

  it.each([
    ['lineage', { via: VIA.lineage }, 'none/request_ended'],
    ['channel', { via: VIA.channel }, 'none/request_ended'],
    ['dial', { via: VIA.dial }, 'none/request_ended'],
    ['pooled, called by a goroutine that it started', { via: VIA.pooled }, 'none/request_ended'],
    ['pooled, called by itself', { via: VIA.pooled, depth: 0 }, 'pooled'],
    ['direct', { via: VIA.direct, depth: 0 }, 'exact'],
    ['a dial for its own goroutine', { via: VIA.dial, depth: 0, goid: OWN }, 'lineage'],
  ])('is doubtful by the way it came: %s', (_, way, expected) => {
    expect(requestUntil(ENDED).sockets(worker(1, ENDED + 5n * S, way))).toEqual([expected]);
  });

  it('is not its doing in code that makes such calls over and over: a worker that goes on', () => {
    const { join, sockets } = requestUntil(ENDED);
    const inLoop = { flags: FLAG.inLoop };
    // As in a drain: the end has been told, what precedes it comes only now.
    expect(
      sockets(worker(1, ENDED - S, inLoop), worker(2, ENDED, inLoop), worker(3, ENDED + 1n, inLoop)),
    ).toEqual(['lineage', 'lineage', 'none/request_ended']);
    expect(sockets(worker(4, ENDED + 2n))).toEqual(['lineage']);
    expect(join.counters.unattributed.request_ended).toBe(1);
  });

  it('what began before is its doing, however late it is told', () => {
    const { tell } = requestUntil(ENDED);
    // Nobody answered for 127 s; the request had not waited for it.
    const timedOut = worker(1, ENDED - S, { type: SOCKET_CONNECT, errno: 110, durationNs: 127n * S });
    tell('kprobe', [], ENDED + 125n * S);
    expect(tell('kprobe', [timedOut], ENDED + 126n * S).map(outcome)).toEqual(['lineage']);
  });

  it('is never doubted while the end is not known', () => {
    const { sockets } = requestUntil();
    expect(sockets(worker(1, 11n * S), worker(2, 100n * S))).toEqual(['lineage', 'lineage']);
  });

  it('goes by times also when the end is told too late', () => {
    const { tell, sockets } = requestUntil();
    expect(sockets(worker(1, ENDED + 5n * S))).toEqual(['lineage']);
    tell('uprobe', [end(7, ENDED)]);
    expect(sockets(worker(2, ENDED + 5n * S))).toEqual(['none/request_ended']);
  });
});

it('a successor knows the connections of requests that began before what it reads again', () => {
  const { join, tell } = requestUntil();
  tell('kprobe', [use(2n ** 64n - 1n), worker(2, 12n * S)]);
  const { bytes } = encodeCheckpoint(
    { created: 'now', emitFrom: 3, replayFrom: 2 },
    (most) => join.state(2, most),
    10,
  );
  const saved = decodeCheckpoint(bytes);
  if (typeof saved === 'string') throw new Error(saved);
  const heir = new Join(LIMITS);
  heir.resume(saved.join);
  const again = batch({ kind: 'kprobe', seq: 2 }, [use(2n ** 64n - 1n), worker(2, 12n * S)]);
  expect(heir.accept('node-a', again, 2).flows).toEqual([]);
  heir.resumed();
  heir.accept('node-a', batch({ kind: 'uprobe', seq: 3 }, [end(7, 13n * S)]), 3);
  const last = [use(2n ** 64n - 1n), worker(3, 13n * S)];
  const { flows } = heir.accept('node-a', batch({ kind: 'kprobe', seq: 4 }, last), 4);
  expect(flows.map(outcome)).toEqual(['lineage']);
  expect(heir.counters).toMatchObject({ usesMerged: 1, lostBatches: 0 });
});
