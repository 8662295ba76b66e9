import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KPROBE_SCHEMA, SOCKET_CONNECT, UPROBE_SCHEMA, VIA } from '../../../schemas/events.ts';
import { decodeRows, FLOW_FIELDS, REQUEST_FIELDS } from '../../../schemas/rows.ts';
import { encodeToken, eventSubject } from '../../../schemas/subjects.ts';
import type { Checkpoint } from '../../../services/correlator/checkpoint.ts';
import { fnv1a64 } from '../../../services/correlator/ids.ts';
import { Join } from '../../../services/correlator/join.ts';
import { Pipeline } from '../../../services/correlator/pipeline.ts';
import { planTakeover } from '../../../services/correlator/takeover.ts';
import type { BusMessage, Outbound } from '../../../services/runtime/bus.ts';
import { batchBytes, DEFAULT_PROCESS, end, type Head, type Row, start } from './batches.ts';
import { type StreamMessage, stories, tell, toMessages } from './event-story.ts';

const CREATED = '2026-07-01T00:00:00Z';
const LIMITS = { windowNs: 60n, lateNs: 1_000_000n, maxRequests: 1_000, maxBoots: 10, silentNs: 1_000n };

function pipeline(lastSeq = 0, saved?: Checkpoint, limits = LIMITS) {
  const refusals: string[] = [];
  const join = new Join(limits);
  const takeover = planTakeover(saved, { firstSeq: 1, lastSeq, created: CREATED });
  const made = new Pipeline(join, takeover, CREATED, (_, { reason, detail }) =>
    refusals.push(`${reason}: ${detail}`),
  );
  return { join, pipeline: made, refusals };
}

function message(seq: number, more: Partial<BusMessage> = {}): BusMessage {
  const data = Buffer.from('?');
  return {
    subject: eventSubject('uprobe', 'node-a'),
    schema: UPROBE_SCHEMA,
    data,
    seq,
    header: () => undefined,
    ...more,
  };
}

function events(seq: number, head: Head, rows: readonly Row[]): BusMessage {
  const subject = eventSubject(head.kind, head.host ?? 'node-a');
  return message(seq, { subject, schema: `${head.kind}.v1`, data: batchBytes(head, rows) });
}

const connect = (eventId: number, requestId: number, more: Row = {}): Row => {
  return { type: SOCKET_CONNECT, eventId, requestId, via: VIA.direct, timeNs: 3n, ...more };
};

describe('Pipeline', () => {
  it('gives one message of flows and one of requests for each service, with ids of the input', () => {
    const { pipeline: one } = pipeline();
    const processes = [DEFAULT_PROCESS, { ...DEFAULT_PROCESS, 'service.name': 'a b.ö' }];
    const head = { kind: 'uprobe', seq: 1, uptoNs: 9n, host: 'web.1' } as const;
    expect(one.process(events(1, head, [start(1, 1n), start(2, 1n), end(1, 2n)]))).toEqual([]);
    const outputs = one.process(
      events(2, { ...head, kind: 'kprobe', seq: 2, processes }, [
        connect(1, 1),
        connect(2, 2, { process: 1 }),
        connect(3, 1),
      ]),
    );
    const prefix = `${fnv1a64(CREATED)}.2`;
    const service = encodeToken('a b.ö');
    expect(outputs.map(({ data: _, ...rest }) => rest)).toEqual([
      { subject: 'flowtag.flow.web=2E1.orders', schema: 'flow.v1', messageId: `${prefix}.f.orders`, rows: 2 },
      {
        subject: `flowtag.flow.web=2E1.${service}`,
        schema: 'flow.v1',
        messageId: `${prefix}.f.${service}`,
        rows: 1,
      },
      {
        subject: 'flowtag.request.web=2E1.orders',
        schema: 'request.v1',
        messageId: `${prefix}.r.orders`,
        rows: 1,
      },
    ]);
    expect(decodeRows(FLOW_FIELDS, outputs[0]!.data)).toMatchObject([
      { 'url.path': '/r/1' },
      { 'url.path': '/r/1' },
    ]);
    expect(decodeRows(REQUEST_FIELDS, outputs[2]!.data)).toMatchObject([{ 'flowtag.request.flows': 2 }]);
    expect(one.nextSeq).toBe(3);
  });

  it('marks what a predecessor may have published, and batches that may be repeats', () => {
    const { pipeline: one } = pipeline(2);
    const headers = (seq: number, more: Partial<Head> = {}) =>
      one.process(events(seq, { kind: 'kprobe', seq, sinceNs: 5n, ...more }, [connect(seq, 0)]))[0]!.headers;
    expect(headers(1)).toEqual({ 'Flowtag-Replay': '1' });
    expect(headers(2)).toEqual({ 'Flowtag-Replay': '1' });
    expect(headers(3)).toBeUndefined();
    expect(headers(4, { sinceNs: 4n })).toEqual({ 'Flowtag-Replay': '1' });
  });

  it.each([
    ['malformed', message(1, { subject: 'flowtag.ev.other.1.node-a' }), 'not the subject of an event batch'],
    ['malformed', message(1, { subject: 'flowtag.ev.uprobe.1.=zz' }), 'not the subject of an event batch'],
    ['unknown_schema', message(1, { schema: 'uprobe.v9' }), 'schema uprobe.v9'],
    ['unknown_schema', message(1, { schema: '' }), 'no schema named'],
    ['malformed', message(1, { schema: KPROBE_SCHEMA }), 'kprobe.v1 on a subject of uprobe events'],
    ['malformed', message(1, { data: Buffer.from([0x92, 1]) }), 'not MessagePack'],
    ['malformed', message(1, { data: Buffer.from('{}') }), ''],
    [
      'malformed',
      message(1, { data: batchBytes({ kind: 'kprobe', seq: 1 }, []) }),
      'kprobe events on a subject',
    ],
    [
      'host_mismatch',
      message(1, { data: batchBytes({ kind: 'uprobe', seq: 1, host: 'evil\r\nX: 1' }, []) }),
      'payload of evil',
    ],
  ])('sets aside as %s', (reason, wrong, detail) => {
    const { pipeline: one, refusals, join } = pipeline();
    const [letter, ...more] = one.process(wrong);
    expect(more).toEqual([]);
    expect(letter).toMatchObject({
      subject: `flowtag.dead.correlator.${reason}`,
      schema: wrong.schema,
      messageId: `${fnv1a64(CREATED)}.1.d`,
      headers: {
        'Flowtag-Dead-Subject': wrong.subject,
        'Flowtag-Dead-Schema': wrong.schema,
        'Flowtag-Dead-Seq': '1',
      },
    });
    expect(Buffer.compare(letter!.data, wrong.data)).toBe(0);
    expect(Object.values(letter!.headers!).join('')).toMatch(/^[\x20-\x7e]*$/);
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toContain(`${reason}: ${detail}`);
    expect(one.refused).toMatchObject({ [reason]: 1 });
    expect(join.bootCount).toBe(0);
    expect(one.nextSeq).toBe(2);
  });

  it('never throws, whatever the bytes', () => {
    const { pipeline: one } = pipeline();
    const good = batchBytes({ kind: 'uprobe', seq: 1 }, [start(1, 1n), end(1, 2n)]);
    let seq = 0;
    const edit = fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 4 }), fc.nat({ max: good.length }), (edits, length) => {
        const data = Buffer.from(good.subarray(0, length));
        for (const [at, value] of edits) if (at < data.length) data[at] = value;
        one.process(message(++seq, { data }));
      }),
      { numRuns: 1_000 },
    );
    expect(one.refused.failed).toBe(0);
    expect(one.nextSeq).toBe(seq + 1);
  });

  it('sets a message aside on which it fails itself, and goes on', () => {
    const { pipeline: one, join, refusals } = pipeline();
    const accept = join.accept.bind(join);
    join.accept = (host, batch, seq) => {
      if (seq === 1) throw new Error('defect');
      return accept(host, batch, seq);
    };
    expect(one.process(events(1, { kind: 'kprobe', seq: 1 }, [connect(1, 0)]))).toMatchObject([
      { subject: 'flowtag.dead.correlator.failed' },
    ]);
    expect(one.process(events(2, { kind: 'kprobe', seq: 2 }, [connect(1, 0)]))).toHaveLength(1);
    expect(refusals).toEqual(['failed: Error: defect']);
  });

  it('splits what is too large for one message, the same way each time', () => {
    const rows = Array.from({ length: 3_000 }, (_, i) => connect(i + 1, 0, { localAddress: '10.0.0.1' }));
    const input = events(1, { kind: 'kprobe', seq: 1 }, rows);
    const [first, second] = [pipeline(), pipeline()].map(({ pipeline: one }) => one.process(input));
    expect(first!.length).toBeGreaterThan(1);
    const digest = ({ messageId, data }: Outbound) => `${messageId} ${Buffer.from(data).toString('base64')}`;
    expect(first!.map(digest).join('\n') === second!.map(digest).join('\n')).toBe(true);
    expect(Math.max(...first!.map(({ data }) => data.length))).toBeLessThanOrEqual(256 * 1024);
    expect(new Set(first!.map(({ messageId }) => messageId)).size).toBe(first!.length);
    const ids = first!.flatMap(
      ({ data }) => decodeRows(FLOW_FIELDS, data) as { 'flowtag.flow.id': string }[],
    );
    expect(new Set(ids.map((flow) => flow['flowtag.flow.id'])).size).toBe(3_000);
  });

  it('sets aside a message with a row that no message can hold', () => {
    const { pipeline: one } = pipeline();
    one.process(events(1, { kind: 'uprobe', seq: 1 }, [start(1, 1n, { path: 'x'.repeat(800_000) })]));
    const outputs = one.process(events(2, { kind: 'kprobe', seq: 2 }, [connect(1, 1), connect(2, 0)]));
    expect(outputs.map(({ subject, rows }) => [subject, rows])).toEqual([
      ['flowtag.flow.node-a.orders', 1],
      ['flowtag.dead.correlator.oversize', 0],
    ]);
    expect(one.oversizeRows).toBe(1);
  });

  it('gives nothing while it rebuilds, and then what a predecessor would have given', () => {
    const stream = [
      events(1, { kind: 'uprobe', seq: 1 }, [start(1, 1n)]),
      events(2, { kind: 'uprobe', seq: 2 }, [start(2, 2n), end(1, 3n)]),
      message(3, { schema: 'x' }),
      events(4, { kind: 'kprobe', seq: 3, uptoNs: 2n }, [connect(1, 1)]),
      events(5, { kind: 'kprobe', seq: 4, uptoNs: 9n }, [connect(2, 2), connect(3, 1)]),
    ];
    const { pipeline: before, join } = pipeline();
    for (const one of stream.slice(0, 4)) before.process(one);
    const saved = { created: CREATED, emitFrom: 5, replayFrom: 2, join: join.state(2, 10) };
    const { pipeline: after, refusals } = pipeline(0, saved); // a stream without its end, were it not for the first test
    expect(after.catchingUp).toBe(false); // such a stream begins anew
    const { pipeline: heir, join: heirJoin } = pipeline(5, saved);
    expect(heir.catchingUp).toBe(true);
    for (const one of stream.slice(1, 4)) expect(heir.process(one)).toEqual([]);
    expect(heir.catchingUp).toBe(false);
    expect(heir.replayed).toBe(3);
    const strip = (outputs: ReturnType<Pipeline['process']>) =>
      outputs.map(({ headers: _, ...rest }) => rest);
    expect(strip(heir.process(stream[4]!))).toEqual(strip(before.process(stream[4]!)));
    expect(heirJoin.counters).toMatchObject({ flowsOut: 2, requestsOut: 1, lostBatches: 0 });
    expect(refusals).toEqual([]);
  });

  it('lets batches wait for one that their host sent earlier', () => {
    const { pipeline: one, join } = pipeline();
    const socket = (seq: number, eventId: number) =>
      events(10 + seq, { kind: 'kprobe', seq, uptoNs: 9n }, [connect(eventId, 1)]);
    one.process(events(1, { kind: 'kprobe', seq: 1 }, []));
    expect(one.process(socket(4, 2))).toEqual([]);
    expect(one.process(socket(3, 1))).toEqual([]);
    expect(one.held).toBe(2);
    const outputs = one.process(events(20, { kind: 'uprobe', seq: 2 }, [start(1, 1n), end(1, 2n)]));
    const ids = outputs.filter(({ schema }) => schema === 'flow.v1').map(({ messageId }) => messageId);
    expect(ids).toEqual([13, 14].map((seq) => `${fnv1a64(CREATED)}.${seq}.f.orders`));
    expect(join.counters).toMatchObject({ flowsOut: 2, requestsOut: 1, lostBatches: 0, lateBatches: 0 });
    expect(join.counters.unattributed.lost_event).toBe(0);
    expect([one.held, one.early]).toEqual([0, 2]);
  });

  it('waits for ten seconds of the host, and in that run never again', () => {
    const { pipeline: one, join } = pipeline();
    const socket = (seq: number, uptoNs: bigint) =>
      one.process(events(seq, { kind: 'kprobe', seq, uptoNs }, [connect(seq, 1)]));
    socket(1, 1n);
    expect([socket(3, 1n), socket(4, 10_000_000_000n)]).toEqual([[], []]);
    expect(socket(5, 10_000_000_002n)).not.toEqual([]);
    expect(join.counters).toMatchObject({ flowsOut: 4, lostBatches: 1 });
    expect(socket(7, 10_000_000_003n)).not.toEqual([]);
    expect(join.counters.lostBatches).toBe(2);
  });

  it('does not wait for an earlier run, nor for what was before the first batch that it sees', () => {
    const { pipeline: one, join } = pipeline();
    const socket = (seq: number, sinceNs: bigint) =>
      one.process(events(seq, { kind: 'kprobe', seq, sinceNs }, [connect(seq, 0)]));
    expect(socket(5, 1n)).not.toEqual([]);
    expect(socket(7, 1n)).toEqual([]);
    expect(socket(1, 2n).filter(({ schema }) => schema === 'flow.v1')).toHaveLength(2);
    expect([one.held, join.counters.flowsOut]).toEqual([0, 3]);
  });

  it('gives the same rows in whatever order a host’s batches come, as long as all of them come', () => {
    const draws = fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 60 });
    const cuts = fc.array(fc.nat({ max: 200 }), { maxLength: 60 }).map((list) => new Set(list));
    const delays = fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(stories, draws, cuts, delays, (told, order, cutSet, delay) => {
        const inOrder = toMessages(tell(told, order), cutSet, true);
        const boots = new Set<string>();
        const late = inOrder.map((one, at) => {
          const boot = `${one.host} ${one.batch.boot}`;
          const isFirst = !boots.has(boot); // nothing tells that anything preceded it
          boots.add(boot);
          return { one, place: isFirst ? at : at + delay[at % delay.length]! };
        });
        late.sort((a, b) => a.place - b.place);
        expect(rowsOf(late.map(({ one }) => one))).toEqual(rowsOf(inOrder));
      }),
      { numRuns: 200 },
    );
  });
});

/** All rows that follow, in an order that says nothing. */
function rowsOf(messages: readonly StreamMessage[]): unknown[] {
  const { pipeline: one } = pipeline(0, undefined, { ...LIMITS, windowNs: 1_000_000n });
  const rows = messages.flatMap(({ host, batch: { kind }, data }, at) =>
    one
      .process(message(at + 1, { subject: eventSubject(kind, host), schema: `${kind}.v1`, data }))
      .flatMap(({ schema, data: packed }): object[] => {
        if (schema === 'flow.v1') return decodeRows(FLOW_FIELDS, packed) as object[];
        return schema === 'request.v1' ? (decodeRows(REQUEST_FIELDS, packed) as object[]) : [];
      }),
  );
  expect(one.held).toBe(0);
  return rows.map((row) => inspect(row)).sort();
}
