import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SOCKET_CLOSE } from '../../../schemas/events.ts';
import { EventDecoder, NO_STACK } from '../../../services/capture/event-decoder.ts';
import { decode } from './decoded.ts';
import { recordMemory, requestEnd, requestStart, socketEvent } from './records.ts';

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
        stack: 5,
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
    expect([kprobe.caller[0], kprobe.flags[0]]).toEqual([15, 32]); // what is said of binary 1 and stack 5
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
      const decoder = new EventDecoder({
        capacity: 2,
        processIndex: () => 0,
        stackFacts: () => NO_STACK,
        onProcessEnd: () => undefined,
      });
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
