import { describe, expect, it } from 'vitest';
import { FLAG, SOCKET_CLOSE, SOCKET_CONNECT, SOCKET_USE, VIA } from '../../../schemas/events.ts';
import { FLOW_COLUMNS, REQUEST_FIELDS } from '../../../schemas/rows.ts';
import type { BootState } from '../../../services/correlator/boot-state.ts';
import { Join, type JoinLimits } from '../../../services/correlator/join.ts';
import { batch, end, type Head, type Row, start } from './batches.ts';

/** FNV-1a-64 of "node-a\0boot-1", computed apart from the code under test. */
const BOOT_PREFIX = 'ecf7297d1cc9accf';

const LIMITS: JoinLimits = {
  windowNs: 60n,
  lateNs: 1_000_000n,
  maxRequests: 1_000,
  maxBoots: 10,
  silentNs: 1_000n,
};

/** A join fed in stream order; batches of a boot are numbered by themselves. */
function feed(limits: Partial<JoinLimits> = {}) {
  const join = new Join({ ...LIMITS, ...limits });
  const numbers = new Map<string, number>();
  let seq = 0;
  const accept = (head: Partial<Head> & Pick<Head, 'kind'>, rows: readonly Row[]) => {
    const { host = 'node-a', boot = 'boot-1' } = head;
    const number = (numbers.get(host + boot) ?? 0) + 1;
    numbers.set(host + boot, number);
    return join.accept(host, batch({ seq: number, ...head }, rows), ++seq);
  };
  return { join, accept };
}

const connect = (eventId: number, requestId: number, more: Row = {}): Row => ({
  type: SOCKET_CONNECT,
  eventId,
  requestId,
  timeNs: 10n,
  via: requestId === 0 ? VIA.none : VIA.direct,
  family: 4,
  localAddress: '10.0.0.7',
  localPort: 40_522,
  peerAddress: '10.0.0.9',
  peerPort: 5_432,
  ...more,
});

describe('Join', () => {
  it('joins a connection with the request that caused it, every field', () => {
    const { accept } = feed();
    const facts = {
      goid: 71,
      query: 'a=1',
      serverAddress: 'shop.example',
      clientAddress: '192.0.2.4',
      clientPort: 51_000,
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
    };
    accept({ kind: 'uprobe' }, [start(0x1_0000_0007, 1_700_000_000_123_456_789n, facts)]);
    const event = {
      tid: 99,
      goid: 72,
      via: VIA.lineage,
      depth: 2,
      connectionId: 2n ** 63n,
      durationNs: 2_100,
    };
    const caller = {
      'code.function.name': 'main.(*Shop).order',
      'code.file.path': '/src/shop.go',
      'code.line.number': 12,
      'code.stacktrace': 'main.(*Shop).order\n\t/src/shop.go:12\n',
      'flowtag.request.handler': 'main.handle',
    };
    const { flows, requests, uncertain } = accept({ kind: 'kprobe', callers: [{}, caller] }, [
      connect(0x2_0000_0003, 0x1_0000_0007, { ...event, caller: 2 }),
    ]);
    expect(requests).toEqual([]);
    expect(uncertain).toBe(false);
    expect(Object.keys(flows[0]!)).toEqual(FLOW_COLUMNS);
    expect(flows).toEqual([
      {
        'flowtag.flow.id': `${BOOT_PREFIX}0000000200000003`,
        time: 10n,
        'host.name': 'node-a',
        'process.pid': 4321,
        'process.executable.name': 'orders',
        'process.executable.path': '/usr/bin/orders',
        'process.creation.time': 1_700_000_000_000_000_000n,
        'service.name': 'orders',
        'container.id': null,
        'k8s.namespace.name': null,
        'k8s.pod.name': null,
        'k8s.pod.uid': null,
        'thread.id': 99,
        'flowtag.go.goroutine.id': 72,
        'flowtag.request.id': `${BOOT_PREFIX}0000000100000007`,
        'http.request.method': 'GET',
        'url.path': `/r/${0x1_0000_0007}`,
        'url.query': 'a=1',
        'http.route': null,
        'server.address': 'shop.example',
        'client.address': '192.0.2.4',
        'client.port': 51_000,
        trace_id: '0af7651916cd43dd8448eb211c80319c',
        span_id: 'b7ad6b7169203331',
        'flowtag.request.start': 1_700_000_000_123_456_789n,
        ...caller,
        'network.transport': 'tcp',
        'network.type': 'ipv4',
        'network.local.address': '10.0.0.7',
        'network.local.port': 40_522,
        'network.peer.address': '10.0.0.9',
        'network.peer.port': 5_432,
        'network.community_id': expect.stringMatching(/^1:/),
        'flowtag.connection': 'new',
        'flowtag.connection.id': '9223372036854775808',
        'error.type': null,
        'flowtag.connect.duration': 2_100,
        'flowtag.attribution.verdict': 'lineage',
        'flowtag.attribution.depth': 2,
        'flowtag.attribution.reason': null,
      },
    ]);
  });

  it.each([
    ['direct', VIA.direct, 'exact', 0],
    ['lineage', VIA.lineage, 'lineage', 3],
    ['dial', VIA.dial, 'lineage', 3],
    ['pooled', VIA.pooled, 'pooled', 3],
    ['thread', VIA.thread, 'thread', 3],
    ['channel', VIA.channel, 'lineage', 3],
  ])('via %s', (_, via, verdict, depth) => {
    const { accept } = feed();
    accept({ kind: 'uprobe' }, [start(7, 1n)]);
    const { flows } = accept({ kind: 'kprobe' }, [connect(1, 7, { via, depth: 3, type: SOCKET_USE })]);
    expect(flows[0]).toMatchObject({
      'flowtag.attribution.verdict': verdict,
      'flowtag.attribution.depth': depth,
      'flowtag.attribution.reason': null,
      'flowtag.connection': 'reused',
      'url.path': '/r/7',
    });
  });

  it.each([
    ['no request', connect(1, 0), 'no_request', null],
    ['no request, full map', connect(1, 0, { flags: FLAG.mapFull }), 'map_full', null],
    ['an older connection', connect(1, 0, { flags: FLAG.predatesCapture }), 'predates_capture', null],
    ['no probes', connect(1, 0, { flags: FLAG.notInstrumented | FLAG.mapFull }), 'not_instrumented', null],
    ['a pooled use that lost its hand-over', connect(1, 0, { via: VIA.pooled, flags: 4 }), 'map_full', null],
    ['work out of a channel', connect(1, 7, { flags: FLAG.fromChannel }), 'channel', `${'0000000000000007'}`],
    ['a start that never came', connect(1, 8), 'lost_event', `${'0000000000000008'}`],
    ['a context without a chain', connect(1, 7, { via: VIA.none }), 'no_request', null],
    ['an unknown way', connect(1, 7, { via: 200 }), 'no_request', null],
  ])('%s gives the reason', (_, row, reason, id) => {
    const { join, accept } = feed();
    accept({ kind: 'uprobe' }, [start(7, 1n)]);
    const { flows } = accept({ kind: 'kprobe' }, [row]);
    expect(flows).toHaveLength(1);
    expect(flows[0]).toMatchObject({
      'flowtag.attribution.verdict': 'none',
      'flowtag.attribution.depth': null,
      'flowtag.attribution.reason': reason,
      'flowtag.request.id': id === null ? null : BOOT_PREFIX + id,
      'url.path': null,
    });
    expect(join.counters.unattributed).toMatchObject({ [reason]: 1 });
  });

  it('names the error of a failed connect, and IPv6', () => {
    const { accept } = feed();
    const v6 = { family: 6, localAddress: '2001:db8::1', peerAddress: '2001:db8::2' };
    const { flows } = accept({ kind: 'kprobe' }, [
      connect(1, 0, { errno: 111, durationNs: 90_000, ...v6 }),
      connect(2, 0, { errno: 9_999 }),
      connect(3, 0, { localAddress: '' }),
      ...[110, 113, 101, 125].map((errno, i) => connect(4 + i, 0, { errno })),
    ]);
    expect(flows.map((flow) => flow['error.type'])).toEqual([
      ...['ECONNREFUSED', 'errno_9999', null],
      ...['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ECANCELED'],
    ]);
    expect(flows[0]).toMatchObject({ 'network.type': 'ipv6', 'flowtag.connect.duration': 90_000 });
    expect(flows[2]).toMatchObject({ 'network.local.address': null, 'network.community_id': null });
  });

  it('ignores and counts closes and unknown types', () => {
    const { join, accept } = feed();
    accept({ kind: 'uprobe' }, [{ type: 77, requestId: 1 }]);
    const { flows } = accept({ kind: 'kprobe' }, [
      connect(1, 0, { type: SOCKET_CLOSE }),
      connect(2, 0, { type: 9 }),
    ]);
    expect(flows).toEqual([]);
    expect(join.counters).toMatchObject({ closes: 1, unknownRows: 2, flowsOut: 0, eventsIn: 3 });
  });

  it('says no duration of a request that ended before it began', () => {
    const { accept } = feed();
    accept({ kind: 'uprobe', uptoNs: 20n }, [start(7, 15n), end(7, 5n)]);
    const { requests } = accept({ kind: 'kprobe', uptoNs: 20n }, []);
    expect(requests).toMatchObject([{ 'flowtag.request.duration': null }]);
  });

  it('reports a finished request once, with the flows that preceded its end', () => {
    const { accept } = feed();
    // The drain publishes uprobes first: the end is seen before the connections that preceded it.
    expect(accept({ kind: 'uprobe', uptoNs: 20n }, [start(7, 5n), end(7, 15n, 503)]).requests).toEqual([]);
    const { requests } = accept({ kind: 'kprobe', uptoNs: 20n }, [connect(1, 7), connect(2, 7)]);
    expect(Object.keys(requests[0]!)).toEqual(Object.keys(REQUEST_FIELDS));
    expect(requests).toHaveLength(1);
    expect(requests[0]).toMatchObject({
      'flowtag.request.id': `${BOOT_PREFIX}0000000000000007`,
      time: 15n,
      'flowtag.request.start': 5n,
      'flowtag.request.duration': 10,
      'http.response.status_code': 503,
      'error.type': null,
      'flowtag.request.flows': 2,
    });
    expect(accept({ kind: 'kprobe', uptoNs: 30n }, [connect(3, 7)]).requests).toEqual([]);
  });

  it('waits for the watermark to reach the end', () => {
    const { accept } = feed();
    accept({ kind: 'uprobe' }, [start(7, 5n), end(7, 15n)]);
    expect(accept({ kind: 'kprobe', uptoNs: 14n }, []).requests).toEqual([]);
    expect(accept({ kind: 'kprobe', uptoNs: 15n }, []).requests).toHaveLength(1);
  });

  it.each([
    [-1, null, 'aborted'],
    [0, null, null],
    [204, 204, null],
  ])('status %i of an end', (status, code, error) => {
    const { accept } = feed();
    accept({ kind: 'uprobe' }, [start(7, 5n), end(7, 15n, status)]);
    const { requests } = accept({ kind: 'kprobe', uptoNs: 15n }, []);
    expect(requests[0]).toMatchObject({ 'http.response.status_code': code, 'error.type': error });
  });

  it('joins for the window after the end, then says expired', () => {
    const { join, accept } = feed();
    accept({ kind: 'uprobe' }, [start(7, 5n), end(7, 15n)]);
    const late = (uptoNs: bigint) =>
      accept({ kind: 'kprobe', uptoNs }, [connect(1, 7)]).flows[0]!['flowtag.attribution.reason'];
    expect(late(75n)).toBeNull();
    expect(late(76n)).toBeNull(); // the batch that ends the window still belongs to it
    expect(late(76n)).toBe('expired');
    expect(join.size).toBe(0);
    expect(join.counters).toMatchObject({ fallenOff: 0, requestsUnreported: 0 });
  });

  it('forgets the oldest when there are too many, counts them and says expired', () => {
    const { join, accept } = feed({ maxRequests: 2 });
    accept({ kind: 'uprobe' }, [start(7, 1n), start(8, 1n), end(7, 2n), start(9, 3n)]);
    const { flows, requests } = accept({ kind: 'kprobe', uptoNs: 9n }, [
      connect(1, 7),
      connect(2, 8),
      connect(3, 10),
    ]);
    expect(flows.map((flow) => flow['flowtag.attribution.reason'])).toEqual(['expired', null, 'lost_event']);
    expect(requests).toEqual([]);
    expect(join.size).toBe(2);
    expect(join.counters).toMatchObject({ fallenOff: 1, requestsUnreported: 1 });
    accept({ kind: 'uprobe' }, [end(7, 2n)]);
    expect(join.counters.endsUnknown).toBe(1);
  });

  it('counts lost batches and skips repeats', () => {
    const { join, accept } = feed();
    accept({ kind: 'kprobe', seq: 1 }, [connect(1, 0)]);
    expect(accept({ kind: 'kprobe', seq: 4 }, [connect(2, 0)]).flows).toHaveLength(1);
    expect(accept({ kind: 'kprobe', seq: 4 }, [connect(2, 0)]).flows).toHaveLength(0);
    expect(accept({ kind: 'kprobe', seq: 3 }, [connect(3, 0)])).toMatchObject({ uncertain: false });
    expect(accept({ kind: 'kprobe', seq: 9, sinceNs: 0n }, [connect(4, 0)])).toMatchObject({
      uncertain: true,
    });
    expect(join.counters).toMatchObject({
      lostBatches: 1,
      lateBatches: 1,
      repeatedBatches: 1,
      uncertainBatches: 1,
    });
  });

  it('keeps hosts and boots apart', () => {
    const { accept } = feed();
    accept({ kind: 'uprobe', host: 'node-a' }, [start(7, 1n)]);
    const reason = (head: Partial<Head>) =>
      accept({ kind: 'kprobe', ...head }, [connect(1, 7)]).flows[0]!['flowtag.attribution.reason'];
    expect(reason({ host: 'node-a' })).toBeNull();
    expect(reason({ host: 'node-b' })).toBe('lost_event');
    expect(reason({ host: 'node-a', boot: 'boot-2' })).toBe('lost_event');
  });

  it('remembers a bounded number of boots, the last heard ones', () => {
    const { join, accept } = feed({ maxBoots: 2 });
    accept({ kind: 'uprobe', host: 'a' }, [start(7, 1n)]);
    accept({ kind: 'uprobe', host: 'b' }, [start(7, 1n), start(8, 1n)]);
    accept({ kind: 'uprobe', host: 'a' }, []);
    accept({ kind: 'uprobe', host: 'c' }, []);
    expect(join.bootCount).toBe(2);
    expect(join.size).toBe(1);
    expect(join.counters).toMatchObject({ bootsDropped: 1, fallenOff: 2 });
  });

  it('forgets a boot that is silent for long by the clock it is given', () => {
    const { join, accept } = feed();
    accept({ kind: 'uprobe', host: 'a' }, [start(7, 1n)]);
    join.expire(5_000n);
    accept({ kind: 'uprobe', host: 'b' }, []);
    join.expire(6_000n);
    expect(join.bootCount).toBe(2);
    join.expire(6_001n);
    expect(join.bootCount).toBe(1);
    expect(join.size).toBe(0);
  });

  it('takes a start that is sent twice once', () => {
    const { join, accept } = feed();
    accept({ kind: 'uprobe' }, [start(7, 1n), start(7, 1n, { path: '/other' })]);
    expect(join.counters.startsRepeated).toBe(1);
    expect(accept({ kind: 'kprobe' }, [connect(1, 7)]).flows[0]!['url.path']).toBe('/r/7');
  });

  it('keeps no queue longer than what it remembers, also for a host that never sends a watermark', () => {
    const { join, accept } = feed({ maxRequests: 10 });
    for (let id = 0; id < 50_000; id += 500)
      accept(
        { kind: 'uprobe' },
        Array.from({ length: 500 }, (_, i) => [start(id + i + 1, 1n), end(id + i + 1, 2n)]).flat(),
      );
    const boot = bootsOf(join)[0]!;
    expect(join.size).toBe(10);
    expect(join.counters.fallenOff).toBe(49_990);
    expect(boot).toMatchObject({ ended: { size: 10 }, unreported: { size: 10 }, requests: { size: 10 } });
    for (const queue of [boot.ended, boot.unreported])
      expect((queue as unknown as { items: unknown[] }).items.length).toBeLessThan(2_048);
  });
});

describe('Join, taken over', () => {
  /** The same later batch, to the join that goes on and to one that begins from its checkpoint. */
  function both(
    before: readonly [Head['kind'], bigint, Row[]][],
    replayFrom: number,
    after: Row[],
    uptoNs: bigint,
  ) {
    const [one, heir] = [new Join({ ...LIMITS, maxRequests: 2 }), new Join({ ...LIMITS, maxRequests: 2 })];
    const stream = before.map(([kind, upto, rows], i) => batch({ kind, seq: i + 1, uptoNs: upto }, rows));
    for (const [i, message] of stream.entries()) one.accept('node-a', message, i + 1);
    heir.resume(one.state(replayFrom, 10));
    for (const [i, message] of stream.entries())
      if (i + 1 >= replayFrom) heir.accept('node-a', message, i + 1);
    heir.resumed();
    const last = batch({ kind: 'kprobe', seq: stream.length + 1, uptoNs }, after);
    const [joined, again] = [one, heir].map((join) => join.accept('node-a', last, stream.length + 1));
    expect(again).toEqual(joined);
    expect(heir.size).toBe(one.size);
    return joined!;
  }

  it('does not know again what had fallen off', () => {
    const { flows } = both(
      [
        ['uprobe', 2n, [start(1, 1n), start(2, 1n), end(2, 2n)]],
        ['kprobe', 9n, []],
        ['uprobe', 10n, [start(3, 3n)]], // too many: 1 falls off, though 2 is about to expire
        ['kprobe', 100n, []],
      ],
      1,
      [connect(1, 1), connect(2, 3)],
      100n,
    );
    expect(flows.map((flow) => flow['flowtag.attribution.reason'])).toEqual(['expired', null]);
  });

  it('gives the rows of requests in the same order', () => {
    const { requests } = both(
      [
        ['uprobe', 1n, [start(1, 1n), start(2, 1n)]],
        ['uprobe', 6n, [end(2, 5n), end(1, 6n)]],
      ],
      2,
      [],
      9n,
    );
    expect(requests.map((row) => row['url.path'])).toEqual(['/r/2', '/r/1']);
  });

  it('lets requests expire in the same order', () => {
    const story: [Head['kind'], bigint, Row[]][] = [
      ['uprobe', 1n, [start(1, 1n), start(2, 1n)]],
      ['uprobe', 6n, [end(2, 5n), end(1, 6n)]],
    ];
    both(story, 3, [], 66n); // 2 has expired, 1 has not
  });
});

function bootsOf(join: Join): BootState[] {
  return (join as unknown as { boots: { all: BootState[] } }).boots.all;
}
