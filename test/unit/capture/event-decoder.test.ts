import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readColumns } from '../../../schemas/columns.ts';
import {
  KPROBE_COLUMNS,
  REQUEST_END,
  REQUEST_START,
  SOCKET_CLOSE,
  UPROBE_COLUMNS,
} from '../../../schemas/events.ts';
import { EventDecoder } from '../../../services/capture/event-decoder.ts';
import { recordMemory, requestEnd, requestStart, socketEvent } from './records.ts';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';

function decode(records: readonly Buffer[], monotonicZeroNs = 0n, capacity = 8) {
  const seen: unknown[] = [];
  const decoder = new EventDecoder(capacity, (...process) => seen.push(process) - 1);
  const { bytes, offsets } = recordMemory(records);
  decoder.setMemory(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  decoder.setMonotonicZero(monotonicZeroNs);
  for (const [index, offset] of offsets.entries()) decoder.accept(offset, records[index]!.length);
  const uprobe = readColumns(UPROBE_COLUMNS, decoder.uprobe.n, decoder.uprobe.take());
  const kprobe = readColumns(KPROBE_COLUMNS, decoder.kprobe.n, decoder.kprobe.take());
  if (typeof uprobe === 'string' || typeof kprobe === 'string') throw new Error(`${uprobe} ${kprobe}`);
  return { uprobe, kprobe, seen, unknown: decoder.unknown, decoder };
}

describe('a request start', () => {
  it('has all that the kernel read', () => {
    const id = Number.MAX_SAFE_INTEGER;
    const { uprobe, seen } = decode([
      requestStart({
        id,
        pid: 4321,
        binary: 200,
        timeNs: 5n,
        flags: 3,
        method: 'DELETE',
        path: '/größe',
        query: 'a=1',
        host: 'example.org',
        peer: '[2001:db8::7]:40522',
        traceparent: `00-${TRACE_ID}-${SPAN_ID}-01`,
      }),
    ]);
    expect(seen).toEqual([['uprobe', 4321, 200]]);
    expect([uprobe.type[0], uprobe.requestId.number(0), uprobe.timeNs.bigint(0)]).toEqual([
      REQUEST_START,
      id,
      5n,
    ]);
    expect([uprobe.process[0], uprobe.tid[0], uprobe.goid.number(0), uprobe.flags[0]]).toEqual([
      0, 4330, 37, 3,
    ]);
    const texts = [uprobe.method, uprobe.path, uprobe.query, uprobe.serverAddress, uprobe.clientAddress];
    expect(texts.map((text) => text.get(0))).toEqual([
      'DELETE',
      '/größe',
      'a=1',
      'example.org',
      '2001:db8::7',
    ]);
    expect([uprobe.clientPort[0], uprobe.traceId.get(0), uprobe.spanId.get(0)]).toEqual([
      40_522,
      TRACE_ID,
      SPAN_ID,
    ]);
  });

  it('may have fields as long as the kernel lets them be, and none at all', () => {
    const path = `/${'p'.repeat(255)}`;
    const query = 'q'.repeat(256);
    const { uprobe } = decode([
      requestStart({ id: 1, path, query, method: 'M'.repeat(16) }),
      requestStart({ id: 2 }),
    ]);
    expect([uprobe.path.get(0), uprobe.query.get(0), uprobe.method.get(0)]).toEqual([
      path,
      query,
      'M'.repeat(16),
    ]);
    expect([uprobe.path.get(1), uprobe.query.get(1), uprobe.clientAddress.get(1)]).toEqual(['', '', '']);
  });

  it('shows a path that is not UTF-8 as far as it is', () => {
    const path = Buffer.from('/a\xff/\xc3', 'latin1'); // the last character was cut in two
    const { uprobe } = decode([requestStart({ id: 1, path }), requestStart({ id: 2, path: '/b' })]);
    expect([uprobe.path.get(0), uprobe.path.get(1)]).toEqual(['/a\ufffd/\ufffd', '/b']);
  });

  it.each([
    ['a later version, which may add fields', `cc-${TRACE_ID}-${SPAN_ID}-01-x`, true],
    ['no value', '', false],
    ['garbage', 'not a traceparent', false],
    ['version ff', `ff-${TRACE_ID}-${SPAN_ID}-01`, false],
    ['more than version 00 has', `00-${TRACE_ID}-${SPAN_ID}-01-`, false],
    ['upper case', `00-${TRACE_ID.toUpperCase()}-${SPAN_ID}-01`, false],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN_ID}-01`, false],
    ['a span id of zeros', `00-${TRACE_ID}-${'0'.repeat(16)}-01`, false],
    ['a short span id', `00-${TRACE_ID}-${SPAN_ID.slice(1)}-01`, false],
    ['no flags', `00-${TRACE_ID}-${SPAN_ID}`, false],
    ['a line break after it', `00-${TRACE_ID}-${SPAN_ID}-01\n`, false],
  ])('has a trace context only from a valid traceparent: %s', (_, traceparent, valid) => {
    const { uprobe } = decode([requestStart({ id: 1, traceparent })]);
    expect([uprobe.traceId.get(0), uprobe.spanId.get(0)]).toEqual(valid ? [TRACE_ID, SPAN_ID] : ['', '']);
  });
});

describe('a request end', () => {
  it('has its status and nothing of the start in the row before', () => {
    const peer = '10.0.0.5:1';
    const { uprobe } = decode([
      requestStart({ id: 1, path: '/a', peer, flags: 7 }),
      requestEnd({ id: 1, status: -1 }),
    ]);
    expect([...uprobe.type]).toEqual([REQUEST_START, REQUEST_END]);
    expect([...uprobe.status]).toEqual([0, -1]);
    expect([uprobe.path.get(1), uprobe.clientPort[1], uprobe.flags[1]]).toEqual(['', 0, 0]);
    expect(uprobe.requestId.number(1)).toBe(1);
  });
});

describe('a socket event', () => {
  const ipv6 = (...tail: number[]) => [0x20, 0x01, 0x0d, 0xb8, ...Array(12 - tail.length).fill(0), ...tail];
  const mapped = (...ipv4: number[]) => [...Array(10).fill(0), 0xff, 0xff, ...ipv4];
  it.each([
    ['IPv4', [10, 0, 0, 7], [255, 0, 9, 1], 4, '10.0.0.7', '255.0.9.1'],
    ['IPv6', ipv6(7), ipv6(1, 0, 0, 9), 6, '2001:db8::7', '2001:db8::100:9'],
    ['IPv4-mapped IPv6', mapped(10, 0, 0, 7), mapped(10, 0, 0, 9), 4, '10.0.0.7', '10.0.0.9'],
    ['IPv6 that is not bound yet', Array(16).fill(0), ipv6(9), 6, '::', '2001:db8::9'],
  ])('has canonical addresses: %s', (_, local, peer, family, localText, peerText) => {
    const { kprobe } = decode([socketEvent({ id: 1, local, peer })]);
    expect([kprobe.family[0], kprobe.localAddress.get(0), kprobe.peerAddress.get(0)]).toEqual([
      family,
      localText,
      peerText,
    ]);
    expect([kprobe.localPort[0], kprobe.peerPort[0]]).toEqual([40_524, 5432]);
  });

  it('has all that the kernel knew', () => {
    const { kprobe, seen } = decode([
      socketEvent({
        id: 9,
        type: 'EVENT_SOCKET_CLOSE',
        requestId: 3,
        pid: 7,
        binary: 1,
        error: 111,
        via: 2,
        depth: 255,
        durationNs: 2n ** 40n,
      }),
    ]);
    expect(seen).toEqual([['kprobe', 7, 1]]);
    expect([kprobe.type[0], kprobe.eventId.number(0), kprobe.requestId.number(0)]).toEqual([
      SOCKET_CLOSE,
      9,
      3,
    ]);
    expect([kprobe.errno[0], kprobe.via[0], kprobe.depth[0], kprobe.netns[0]]).toEqual([
      111, 2, 255, 4_026_531_840,
    ]);
    expect([kprobe.durationNs.number(0), kprobe.connectionId.number(0), kprobe.goid.number(0)]).toEqual([
      2 ** 40,
      77,
      37,
    ]);
  });
});

describe('the decoder', () => {
  it('adds monotonic zero to every time, with the carry', () => {
    const below = (max: bigint) => fc.bigInt({ min: 0n, max });
    fc.assert(
      fc.property(below(2n ** 62n), below(2n ** 62n), (zero, timeNs) => {
        const records = [
          requestStart({ id: 1, timeNs }),
          requestEnd({ id: 1, timeNs }),
          socketEvent({ id: 2, timeNs }),
        ];
        const { uprobe, kprobe } = decode(records, zero);
        const times = [uprobe.timeNs.bigint(0), uprobe.timeNs.bigint(1), kprobe.timeNs.bigint(0)];
        expect(times).toEqual(Array(3).fill(zero + timeNs));
      }),
      {
        examples: [
          [0xffff_ffffn, 1n],
          [0xffff_ffffn, 0xffff_ffffn],
          [0n, 0n],
        ],
      },
    );
  });

  it('counts types and lengths that it does not know, and keeps on', () => {
    const foreign = requestEnd({ id: 1 });
    foreign.writeUInt32LE(99);
    const records = [
      foreign,
      Buffer.alloc(0),
      requestEnd({ id: 2 }).subarray(8),
      requestStart({ id: 3 }).subarray(0, 744),
    ];
    const longer = Buffer.concat([socketEvent({ id: 4 }), Buffer.alloc(8)]);
    const { uprobe, kprobe, unknown } = decode([...records, longer, requestEnd({ id: 5 })]);
    expect(unknown).toBe(5);
    expect([uprobe.requestId.number(0), uprobe.type.length, kprobe.type.length]).toEqual([5, 1, 0]);
  });

  it('is full when either batch is', () => {
    const full = (records: readonly Buffer[]) => {
      const decoder = new EventDecoder(2, () => 0);
      const { bytes, offsets } = recordMemory(records);
      decoder.setMemory(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
      for (const [index, offset] of offsets.entries()) decoder.accept(offset, records[index]!.length);
      return decoder.full;
    };
    expect(full([requestEnd({ id: 1 }), socketEvent({ id: 2 })])).toBe(false);
    expect(full([requestEnd({ id: 1 }), requestEnd({ id: 2 })])).toBe(true);
    expect(full([socketEvent({ id: 1 }), socketEvent({ id: 2 })])).toBe(true);
  });
});
