import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pack, unpack } from '../../../schemas/codec.ts';
import { decodeEvents, type EventEnvelope, encodeEvents, SOCKET_USE } from '../../../schemas/events.ts';
import { batchBytes, DEFAULT_PROCESS, end, type Row, start } from '../correlator/batches.ts';

const TIME_NS = 1_763_000_000_123_456_789n;
const UPROBE = batchBytes({ kind: 'uprobe', seq: 7, sinceNs: 5n, uptoNs: TIME_NS }, [
  start(1, TIME_NS, { path: '/größe', clientPort: 40_522, traceId: 'ab'.repeat(16) }),
  end(1, TIME_NS + 1n, -1),
]);
const USE: Row = {
  type: SOCKET_USE,
  eventId: 2,
  requestId: 1,
  timeNs: TIME_NS,
  peerAddress: '::1',
  peerPort: 5432,
};
const CALLER = { 'code.function.name': 'main.größe', 'code.line.number': 4_294_967_295 };
const KPROBE = batchBytes({ kind: 'kprobe', seq: 8, uptoNs: TIME_NS, callers: [CALLER] }, [
  USE,
  { ...USE, eventId: 3, caller: 1 },
]);

/** The batch with some of its fields exchanged, as bytes. */
function changed(bytes: Uint8Array, change: Record<string, unknown>): Uint8Array {
  return pack({ ...(unpack(bytes) as object), ...change });
}

function withColumn(bytes: Uint8Array, name: string, column: unknown): Uint8Array {
  const { cols } = unpack(bytes) as EventEnvelope;
  return changed(bytes, { cols: { ...cols, [name]: column } });
}

describe('a batch of events', () => {
  it('comes back as it was sent', () => {
    const batch = decodeEvents(UPROBE);
    if (typeof batch === 'string' || batch.kind !== 'uprobe') throw new Error(String(batch));
    expect(batch).toMatchObject({ v: 1, host: 'node-a', boot: 'boot-1', seq: 7, uptoNs: TIME_NS, n: 2 });
    expect(batch.ledger).toEqual({ sinceNs: 5n, captured: {}, dropped: {} });
    expect(batch.rows.timeNs.bigint(1)).toBe(TIME_NS + 1n);
    expect([batch.rows.path.get(0), batch.rows.path.get(1)]).toEqual(['/größe', '']);
    expect([batch.rows.traceId.get(0), batch.rows.clientPort[0]]).toEqual(['ab'.repeat(16), 40_522]);
    expect([...batch.rows.status]).toEqual([0, -1]);
    expect(batch.process['process.executable.path'].get(0)).toBe('/usr/bin/orders');
    expect(batch.process['process.creation.time'].bigint(0)).toBe(1_700_000_000_000_000_000n);
  });

  it('has the columns of its kind', () => {
    const batch = decodeEvents(KPROBE);
    if (typeof batch === 'string' || batch.kind !== 'kprobe') throw new Error(String(batch));
    expect([batch.rows.eventId.number(0), batch.rows.peerAddress.get(0)]).toEqual([2, '::1']);
    expect([...batch.rows.caller]).toEqual([0, 1]);
    expect(batch.caller['code.function.name'].get(0)).toBe('main.größe');
    expect([...batch.caller['code.line.number']]).toEqual([4_294_967_295]);
    expect(decodeEvents(changed(KPROBE, { kind: 'uprobe' }))).toBe('column method is missing');
  });

  it.each([
    ['an id that is not exact', { requestId: 2n ** 53n }, 'row 0: requestId is too large'],
    ['a goroutine that is not exact', { goid: 2n ** 64n - 1n }, 'row 0: goid is too large'],
    ['a time that no store holds', { timeNs: 4_102_444_800_000_000_000n }, 'row 0: timeNs is too large'],
  ])('is refused with %s', (_, change, problem) => {
    expect(decodeEvents(batchBytes({ kind: 'kprobe', seq: 1 }, [{ ...USE, ...change }]))).toBe(problem);
  });

  it('may be empty', () => {
    expect(decodeEvents(batchBytes({ kind: 'kprobe', seq: 1, processes: [] }, []))).toMatchObject({ n: 0 });
  });

  it('of 0.1.0, which knew no pods, says none', () => {
    const { cols } = unpack(UPROBE) as EventEnvelope;
    const then = Object.entries(cols).filter(([name]) => !name.startsWith('k8s.'));
    expect(then.length).toBe(Object.keys(cols).length - 3);
    const batch = decodeEvents(changed(UPROBE, { cols: Object.fromEntries(then) }));
    if (typeof batch === 'string') throw new Error(batch);
    expect(batch.process['k8s.pod.uid'].get(0)).toBe('');
    expect(batch.process['process.executable.path'].get(0)).toBe('/usr/bin/orders');
  });

  it('may have columns of a later version, which are left out', () => {
    const batch = decodeEvents(withColumn(UPROBE, 'later', new Uint8Array(3)));
    expect(batch).toMatchObject({ n: 2 });
    expect(batch).not.toHaveProperty('rows.later');
  });

  it.each<[string, Uint8Array, string]>([
    ['another version', changed(UPROBE, { v: 2 }), 'field v: '],
    ['another kind', changed(UPROBE, { kind: 'xprobe' }), 'field kind: '],
    ['no host', changed(UPROBE, { host: '' }), 'field host: '],
    ['a sequence number below 1', changed(UPROBE, { seq: 0 }), 'field seq: '],
    ['a broken number of rows', changed(UPROBE, { n: 1.5 }), 'field n: '],
    ['too many rows', changed(UPROBE, { n: 65_536 }), 'field n: '],
    ['a time as a small number', changed(UPROBE, { uptoNs: 12 }), 'field uptoNs: '],
    ['a time before 1970', changed(UPROBE, { uptoNs: -1n }), 'field uptoNs: '],
    ['a negative count', changed(UPROBE, ledger({ captured: { socket: -1 } })), 'field ledger.captured'],
    ['columns that are no bytes', withColumn(UPROBE, 'type', [1, 1]), 'field cols.type: '],
    ['more rows than its columns', changed(UPROBE, { n: 3 }), 'column type is 2 bytes, not 3×1'],
    ['more processes than its table', changed(UPROBE, { processes: 2 }), 'column process.pid is 4 bytes'],
    [
      'a column too short',
      withColumn(UPROBE, 'goid', new Uint8Array(15)),
      'column goid is 15 bytes, not 2×8',
    ],
    ['a process that it does not describe', processes(UPROBE, 0, 1), 'row 1 names process 1, of 1'],
    ['a caller that it does not describe', callers(KPROBE, 2, 0), 'row 0 names caller 2, of 1'],
    [
      'more callers than its table',
      changed(KPROBE, { callers: 2 }),
      'column code.function.name has the wrong',
    ],
    ['an array', pack([1, 2]), 'field (whole): '],
    ['nothing', new Uint8Array(0), 'not MessagePack: '],
    ['more than one value', Buffer.concat([UPROBE, UPROBE]), 'not MessagePack: '],
  ])('is refused in words with %s', (_, bytes, problem) => {
    expect(decodeEvents(bytes)).toContain(problem);
  });

  it('is refused with a time of more than 64 bits, which nobody could pass on', () => {
    const key = Buffer.from('\xa6uptoNs', 'latin1');
    const at = Buffer.from(UPROBE).indexOf(key) + key.length;
    const huge = Buffer.from('c709420100000000000000ff', 'hex'); // the big integer extension
    const bytes = Buffer.concat([UPROBE.subarray(0, at), huge, UPROBE.subarray(at + 9)]);
    expect(decodeEvents(bytes)).toContain('field uptoNs: ');
  });

  it('cut short is refused at any length', () => {
    for (const bytes of [UPROBE, KPROBE])
      for (let length = 0; length < bytes.length; length++)
        expect(decodeEvents(bytes.slice(0, length))).toBeTypeOf('string');
  });

  it('never makes the decoder throw, whatever the bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), readable), { numRuns: 5_000 });
  });

  it('never makes the decoder throw, whatever happened to its bytes', () => {
    const damage = fc.array(fc.tuple(fc.nat(2_000), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.constantFrom(UPROBE, KPROBE), damage, (bytes, changes) => {
        const damaged = Uint8Array.from(bytes);
        for (const [at, byte] of changes) damaged[at % damaged.length] = byte;
        readable(damaged);
      }),
      { numRuns: 10_000 },
    );
  });

  it('never makes the decoder throw, whatever MessagePack it is', () => {
    const values = fc.anything({ withBigInt: false, withDate: true, withTypedArray: true, withMap: true });
    fc.assert(fc.property(values, (value) => readable(pack(value))));
    const keys = fc.constantFrom(...Object.keys(unpack(UPROBE) as object));
    fc.assert(fc.property(keys, values, (key, value) => readable(changed(UPROBE, { [key]: value }))));
  });

  it('numbers its processes in 16 bits', () => {
    const pids = Array.from({ length: 300 }, (_, pid) => ({ ...DEFAULT_PROCESS, 'process.pid': pid }));
    const rows = pids.map((_, process) => start(process + 1, TIME_NS, { process }));
    const batch = decodeEvents(batchBytes({ kind: 'uprobe', seq: 1, processes: pids }, rows));
    if (typeof batch === 'string') throw new Error(batch);
    expect(batch.process['process.pid'][batch.rows.process[299]!]).toBe(299);
  });
});

function ledger(change: object): Record<string, unknown> {
  return { ledger: { sinceNs: 5n, captured: {}, dropped: {}, ...change } };
}

function processes(bytes: Uint8Array, ...indexes: number[]): Uint8Array {
  return withColumn(bytes, 'process', new Uint8Array(new Uint16Array(indexes).buffer));
}

function callers(bytes: Uint8Array, ...indexes: number[]): Uint8Array {
  return withColumn(bytes, 'caller', new Uint8Array(new Uint16Array(indexes).buffer));
}

/** Words, or a batch of which every row can be read. */
function readable(bytes: Uint8Array): void {
  const batch = decodeEvents(bytes);
  if (typeof batch === 'string') return;
  encodeEvents({ ...batch, cols: {} });
  for (let row = 0; row < batch.n; row++) {
    expect(batch.process['process.pid'][batch.rows.process[row]!]).toBeTypeOf('number');
    expect(batch.rows.timeNs.bigint(row)).toBeTypeOf('bigint');
  }
}
