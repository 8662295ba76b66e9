import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NO_POD } from '../../../services/capture/pod.ts';
import { BatchRecorder, NOBODY, rowsOf, SINCE_NS } from './batch-recorder.ts';
import { requestEnd, requestStart, socketEvent } from './records.ts';

const SECOND_NS = 1_000_000_000n;
/** What a NATS server takes unless told otherwise, with room for subject and headers. */
const MAX_MESSAGE_BYTES = (1 << 20) - 4096;

/** One drain: events in kernel order, each so many ns after the one before. */
const event = fc.record({
  kind: fc.constantFrom('start', 'end', 'connect'),
  laterNs: fc.oneof(fc.bigInt({ min: 0n, max: 1000n }), fc.bigInt({ min: 0n, max: 2n * SECOND_NS })),
  pid: fc.integer({ min: 1, max: 4 }),
  cause: fc.nat(),
});
const drain = fc.record({ events: fc.array(event, { maxLength: 12 }), complete: fc.boolean() });

describe('batches', () => {
  it('keep every promise of the contract, whatever the events and drains', () => {
    fc.assert(
      fc.property(fc.array(drain, { maxLength: 10 }), (drains) => {
        const recorder = new BatchRecorder();
        const expected: unknown[] = [];
        const started = new Set<number>();
        let timeNs = 0n;
        let id = 0;
        for (const { events, complete } of drains) {
          const records = events.map((of) => {
            timeNs += of.laterNs;
            id++;
            const requestId = [...started][of.cause % (started.size || 1)] ?? 0;
            const head = { id, timeNs, pid: of.pid };
            if (of.kind === 'start') started.add(id);
            const isSocket = of.kind === 'connect';
            expected.push({
              kind: isSocket ? 'kprobe' : 'uprobe',
              id,
              requestId: isSocket ? requestId : id,
              timeNs: SINCE_NS + timeNs,
              pid: of.pid,
            });
            if (isSocket) return socketEvent({ ...head, requestId });
            return of.kind === 'start' ? requestStart(head) : requestEnd(head);
          });
          recorder.accept(records);
          const beganNs = SINCE_NS + timeNs;
          recorder.target.drained(beganNs, complete, Number(timeNs) / 1e6);
          if (complete) expect(beganNs - watermark(recorder)).toBeLessThan(SECOND_NS);
        }
        expectContract(recorder, started);
        for (const kind of ['uprobe', 'kprobe'])
          expect(recorder.batches.filter((batch) => batch.kind === kind).flatMap(rowsOf)).toEqual(
            expected.filter((row) => (row as { kind: string }).kind === kind),
          );
      }),
      { numRuns: 200 },
    );
  });

  it('go out full in the middle of a drain, request facts first', () => {
    const recorder = new BatchRecorder();
    const records = Array.from({ length: 5_000 }, (_, n) => [
      requestStart({ id: 2 * n + 1, timeNs: BigInt(n) }),
      socketEvent({ id: 2 * n + 2, requestId: 2 * n + 1, timeNs: BigInt(n) }),
    ]).flat();
    recorder.accept(records);
    const midway = recorder.batches.length;
    expect(midway).toBeGreaterThanOrEqual(2);
    expect(recorder.batches.at(-1)!.uptoNs).toBeLessThanOrEqual(SINCE_NS + 4_999n);
    recorder.target.drained(SINCE_NS + 6_000n, true, 0);
    expect(recorder.batches.length).toBe(midway + 2);
    expectContract(recorder, new Set(records.map((_, n) => 2 * n + 1)));
    expect(recorder.batches.flatMap(rowsOf)).toHaveLength(10_000);
  });

  it('of the longest requests there are still fit into one message each', () => {
    const recorder = new BatchRecorder();
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const peer = `[${'2001:0db8:'.repeat(4).slice(0, 39)}]:65535`;
    const longest = {
      path: 'p'.repeat(256),
      query: 'q'.repeat(256),
      host: 'h'.repeat(64),
      method: 'M'.repeat(16),
    };
    recorder.accept(
      Array.from({ length: 4_096 }, (_, id) => requestStart({ id, ...longest, peer, traceparent })),
    );
    recorder.target.drained(SINCE_NS, true, 0);
    expect(Math.max(...recorder.messages.map(({ data }) => data.length))).toBeLessThan(MAX_MESSAGE_BYTES);
    expect(recorder.batches.flatMap(rowsOf)).toHaveLength(4_096);
    const before = recorder.messages.length;
    recorder.accept([socketEvent({ id: 1 }), socketEvent({ id: 2 }), requestEnd({ id: 3 })]);
    expect(recorder.messages).toHaveLength(before); // what was long is gone: nothing is full any more
  });

  it('of the most socket events fit as well', () => {
    const recorder = new BatchRecorder();
    const peer = [0x20, 0x01, ...Array(14).fill(0xff)];
    recorder.accept(Array.from({ length: 4_096 }, (_, id) => socketEvent({ id, peer, local: peer })));
    expect(recorder.messages.map(({ rows }) => rows)).toEqual([4_096]);
    expect(recorder.messages[0]!.data.length).toBeLessThan(MAX_MESSAGE_BYTES);
  });

  it('of the longest callers fit as well, each told once in a batch', () => {
    const text = 'x'.repeat(4_000);
    const caller = {
      ...NOBODY,
      function: text,
      file: text,
      line: 7,
      handler: text,
      stacktrace: text.repeat(2),
    };
    const recorder = new BatchRecorder(undefined, (_, stack) => (stack % 2 ? caller : NOBODY));
    const peer = [0x20, 0x01, ...Array(14).fill(0xff)];
    recorder.accept(
      Array.from({ length: 4_096 }, (_, id) => socketEvent({ id, peer, local: peer, stack: 1 + (id % 200) })),
    );
    recorder.target.drained(SINCE_NS, true, 0);
    expect(Math.max(...recorder.messages.map(({ data }) => data.length))).toBeLessThan(MAX_MESSAGE_BYTES);
    const named = recorder.batches.flatMap((batch) =>
      batch.kind === 'kprobe'
        ? Array.from({ length: batch.n }, (_, row) => {
            const at = batch.rows.caller[row]!;
            return at === 0 ? 0 : batch.caller['code.line.number'][at - 1];
          })
        : [],
    );
    expect(named).toEqual(Array.from({ length: 4_096 }, (_, id) => (id % 2 ? 0 : 7)));
  });

  it('do not move the watermark back when the clock is set back', () => {
    const recorder = new BatchRecorder();
    recorder.target.drained(SINCE_NS + 5n * SECOND_NS, true, 0);
    recorder.accept([socketEvent({ id: 1, timeNs: 1n })]);
    recorder.target.drained(SINCE_NS + 1n, true, 999);
    recorder.target.drained(SINCE_NS + 2n, true, 2_500); // idle, and still heard of
    expect(recorder.batches.map(({ uptoNs }) => uptoNs)).toEqual(Array(3).fill(SINCE_NS + 5n * SECOND_NS));
  });

  it('describe the processes of their own rows', () => {
    const facts = (pid: number) => ({ ...FACTS, pid, serviceName: `service-${pid}` });
    const recorder = new BatchRecorder((pid) => (pid === 3 ? undefined : facts(pid)));
    recorder.accept([
      requestStart({ id: 1, pid: 1 }),
      socketEvent({ id: 2, pid: 2 }),
      socketEvent({ id: 3, pid: 1 }),
    ]);
    recorder.target.drained(SINCE_NS, true, 0);
    recorder.accept([socketEvent({ id: 4, pid: 3, binary: 7 })]);
    recorder.target.drained(SINCE_NS, true, 0);
    const services = recorder.batches.map(({ process, processes }) =>
      Array.from({ length: processes }, (_, index) => process['service.name'].get(index)),
    );
    expect(services).toEqual([['service-1'], ['service-2', 'service-1'], ['app-7']]);
    expect(recorder.batches[2]!.process['process.executable.path'].get(0)).toBe('/opt/app-7');
  });

  it('carry the ledger of the moment, also without rows', () => {
    const recorder = new BatchRecorder();
    recorder.target.watermark();
    recorder.target.watermark();
    expect(recorder.batches.map(({ ledger }) => ledger)).toEqual([
      { sinceNs: SINCE_NS, captured: { socket: 0 }, dropped: {} },
      { sinceNs: SINCE_NS, captured: { socket: 1 }, dropped: {} },
    ]);
  });
});

const FACTS = {
  executableName: 'app',
  executablePath: '/opt/app',
  creationTimeNs: 1n,
  containerId: '',
  podUid: '',
  pod: NO_POD,
};

function watermark({ batches }: BatchRecorder): bigint {
  return batches.findLast(({ kind }) => kind === 'kprobe')?.uptoNs ?? 0n;
}

/** What readers rely on, message by message. `started`: requests whose start is among the events. */
function expectContract({ batches, messages }: BatchRecorder, started: ReadonlySet<number>): void {
  const seen = new Set<number>();
  let uptoNs = 0n;
  for (const [index, batch] of batches.entries()) {
    const { subject, schema, messageId, rows } = messages[index]!;
    expect([batch.seq, batch.host, batch.boot, batch.n]).toEqual([index + 1, 'node a', 'boot-1', rows]);
    expect([subject, schema]).toEqual([`flowtag.ev.${batch.kind}.11.node=20a`, `${batch.kind}.v1`]);
    expect(messageId).toBe(`node=20a.boot-1.${SINCE_NS}.${index + 1}`);
    expect(batch.uptoNs).toBeGreaterThanOrEqual(uptoNs);
    for (const row of rowsOf(batch)) {
      if (batch.kind === 'uprobe') seen.add(row.id);
      else if (started.has(row.requestId)) expect(seen).toContain(row.requestId);
      expect(row.timeNs).toBeGreaterThanOrEqual(batch.fromNs);
      // A socket batch says how far both kinds have been delivered: nothing older follows it.
      expect(row.timeNs).toBeGreaterThanOrEqual(uptoNs);
    }
    if (batch.kind === 'kprobe') uptoNs = batch.uptoNs;
  }
}
