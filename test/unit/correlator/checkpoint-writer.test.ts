import { pino } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { KPROBE_SCHEMA, SOCKET_CONNECT } from '../../../schemas/events.ts';
import { eventSubject } from '../../../schemas/subjects.ts';
import { type Checkpoint, decodeCheckpoint } from '../../../services/correlator/checkpoint.ts';
import { CheckpointWriter } from '../../../services/correlator/checkpoint-writer.ts';
import { Join } from '../../../services/correlator/join.ts';
import { Pipeline } from '../../../services/correlator/pipeline.ts';
import { ReplayWindow } from '../../../services/correlator/replay-window.ts';
import { planTakeover } from '../../../services/correlator/takeover.ts';
import type { Outbound } from '../../../services/runtime/bus.ts';
import { BusError } from '../../../services/runtime/errors.ts';
import { batchBytes, type Row } from './batches.ts';

const lines: { msg: string; problem?: string }[] = [];
const log = pino({}, { write: (line) => void lines.push(JSON.parse(line)) });
beforeEach(() => {
  vi.useFakeTimers();
  lines.length = 0;
});
afterEach(() => vi.useRealTimers());

/** A writer whose bus answers as told. */
function writer() {
  const join = new Join({
    windowNs: 60n,
    lateNs: 1_000_000n,
    maxRequests: 1_000,
    maxBoots: 10,
    silentNs: 1_000n,
  });
  const takeover = planTakeover(undefined, { firstSeq: 1, lastSeq: 0, created: 'c1' });
  const pipeline = new Pipeline(join, takeover, 'c1', () => undefined);
  const written: { checkpoint: Checkpoint; revision: number }[] = [];
  const fenced: BusError[] = [];
  const given: Outbound[] = [];
  const bus = { flush: async () => true, set: async (): Promise<number> => written.length + 10 };
  const made = new CheckpointWriter(
    {
      key: 'p.all',
      created: 'c1',
      positions: {
        get: async () => undefined,
        set: async (_, bytes, revision) => {
          const answer = await bus.set();
          written.push({ checkpoint: decodeCheckpoint(bytes) as Checkpoint, revision });
          return answer;
        },
      },
      publisher: {
        publish: () => undefined,
        flush: () => bus.flush(),
        stats: { queued: 0, queuedBytes: 0, acked: 0, ackedRows: 0, dropped: 0, droppedRows: 0, resent: 0 },
        close: () => undefined,
        release: () => [],
      },
      pipeline,
      join,
      window: new ReplayWindow(60_000, 1, 0),
      log,
      give: (output) => given.push(...output),
      onFenced: (error) => fenced.push(error),
    },
    7,
  );
  let seq = 0;
  const arrive = (batchSeq = seq + 1, rows: readonly Row[] = []): void => {
    const data = batchBytes({ kind: 'kprobe', seq: batchSeq }, rows);
    const subject = eventSubject('kprobe', 'node-a');
    pipeline.process({ subject, schema: KPROBE_SCHEMA, data, seq: ++seq, header: () => undefined });
  };
  return {
    made,
    bus,
    written,
    fenced,
    given,
    arrive,
    positions: () => written.map((one) => one.checkpoint.emitFrom),
  };
}

it('writes each second, with the revision of the last write, and only when something has arrived', async () => {
  const { arrive, written, positions, made } = writer();
  arrive();
  await vi.advanceTimersByTimeAsync(1_000);
  await vi.advanceTimersByTimeAsync(5_000);
  arrive();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(positions()).toEqual([2, 3]);
  expect(written.map(({ revision }) => revision)).toEqual([7, 10]);
  expect(made.written).toBe(2);
});

it('does not move beyond what is acknowledged, and says why', async () => {
  const { made, bus, arrive, positions } = writer();
  bus.flush = async () => false;
  arrive();
  await made.write();
  await made.write();
  expect(positions()).toEqual([]);
  expect(made.problem).toContain('did not acknowledge');
  bus.flush = async () => true;
  await made.write();
  expect(positions()).toEqual([2]);
  expect(made.problem).toBeUndefined();
  expect(lines.map(({ msg }) => msg)).toEqual([
    'checkpoint not written, trying again',
    'checkpoint written again',
  ]);
});

it('writes the state of the moment it began, whatever arrives while it waits', async () => {
  const { made, bus, arrive, positions } = writer();
  arrive();
  bus.flush = async () => {
    arrive();
    return true;
  };
  await made.write();
  expect(positions()).toEqual([2]);
});

it('keeps trying when the bus does not answer', async () => {
  const { made, bus, arrive, positions } = writer();
  arrive();
  bus.set = async () => Promise.reject(new BusError('TIMEOUT', 'no answer'));
  await made.write();
  expect(made.problem).toBe('no answer');
  bus.set = async () => 99;
  await made.write();
  expect(positions()).toEqual([2]);
});

it('reports that somebody else wrote', async () => {
  const { made, bus, fenced, arrive } = writer();
  arrive();
  bus.set = async () => Promise.reject(new BusError('FENCED', 'written by someone else'));
  await made.write();
  expect(fenced).toHaveLength(1);
});

it('writes no more once rows were lost, not even one that is under way', async () => {
  const { made, bus, arrive, positions } = writer();
  arrive();
  bus.flush = async () => {
    made.abandon();
    return true;
  };
  await made.write();
  bus.flush = async () => true;
  arrive();
  await vi.advanceTimersByTimeAsync(3_000);
  await made.close();
  expect(positions()).toEqual([]);
});

it('writes a last one on close, after the one under way', async () => {
  const { made, bus, arrive, positions } = writer();
  arrive();
  let acknowledge = (): void => undefined;
  bus.flush = () => new Promise((resolve) => (acknowledge = () => resolve(true)));
  const underWay = made.write();
  bus.flush = async () => true;
  arrive();
  const closed = made.close();
  acknowledge();
  await Promise.all([underWay, closed]);
  expect(positions()).toEqual([2, 3]);
});

it('writes no position while a batch waits for an earlier one, and gives up on that one in time', async () => {
  const { arrive, positions, given, made } = writer();
  arrive();
  arrive(3, [{ type: SOCKET_CONNECT, eventId: 1, requestId: 0 }]);
  await vi.advanceTimersByTimeAsync(5_000);
  expect([positions(), given]).toEqual([[], []]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(positions()).toEqual([3]);
  expect(given.map(({ subject }) => subject)).toEqual(['flowtag.flow.node-a.orders']);
  await made.close();
});
