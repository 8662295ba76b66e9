import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Reader, ReaderOptions } from '../../../services/runtime/bus.ts';
import { provisionStreams } from '../../../services/runtime/bus-streams.ts';
import type { BusError } from '../../../services/runtime/errors.ts';
import { event, LIMITS, numberOf, quiet, recordLog, startBus, until, upTo } from './support.ts';

let at: Awaited<ReturnType<typeof startBus>>;
let numbers: number[];
let seqs: number[];
/** How long a pull request lives here, so that one runs out soon. */
const expiresMs = 500;

beforeEach(async () => {
  at = await startBus();
  numbers = [];
  seqs = [];
});
afterEach(() => at.close());

function read(options: Partial<ReaderOptions> = {}): Reader {
  return at.bus.reader({
    stream: 'FLOWTAG_EV',
    filter: 'flowtag.ev.*.3.*',
    startSeq: 1,
    onMessage: (message) => {
      numbers.push(numberOf(message));
      seqs.push(message.seq);
    },
    log: quiet,
    ...options,
  });
}

async function publish(from: number, to: number, bytes?: number): Promise<void> {
  const publisher = at.bus.publisher({});
  for (let n = from; n < to; n++) publisher.publish(event(n, bytes));
  expect(await publisher.flush(20_000)).toBe(true);
  publisher.close();
}

describe('reader', () => {
  it('reads from a sequence on, then live', async () => {
    await publish(0, 1_000);
    const reader = read({ startSeq: 401 });
    await until('history', () => numbers.length === 600);
    await publish(1_000, 1_100);
    await until('live', () => numbers.length === 700);
    expect(numbers).toEqual(upTo(1_100).slice(400));
    expect(seqs).toEqual(
      upTo(1_100)
        .slice(400)
        .map((n) => n + 1),
    );
    expect([reader.lastSeq, reader.recreated]).toEqual([1_100, 0]);
  });

  it('gives subject, schema and headers', async () => {
    const seen: unknown[] = [];
    read({
      onMessage: ({ subject, schema, seq, header }) =>
        seen.push([subject, schema, seq, header('Nats-Msg-Id'), header('X'), header('None')]),
    });
    const publisher = at.bus.publisher({});
    publisher.publish({ ...event(0), headers: { X: 'y' } });
    await until('one message', () => seen.length === 1);
    expect(seen).toEqual([['flowtag.ev.uprobe.3.h', 'uprobe.v1', 1, 'h-0', 'y', undefined]]);
  });

  it('sees its filter only', async () => {
    const publisher = at.bus.publisher({});
    for (const n of upTo(100))
      publisher.publish(n % 10 === 0 ? event(n) : { ...event(n), subject: 'flowtag.ev.uprobe.4.other' });
    read();
    await until('ten messages', () => numbers.length === 10);
    expect(numbers).toEqual(upTo(10).map((n) => 10 * n));
  });

  it('misses and repeats nothing while the server is killed three times', { timeout: 60_000 }, async () => {
    const reader = read();
    const publisher = at.bus.publisher({});
    const total = 6_000;
    const publishing = (async () => {
      for (const n of upTo(total)) {
        publisher.publish(event(n));
        if (n % 50 === 49) await sleep(15);
      }
    })();
    for (let times = 0; times < 3; times++) {
      const before = numbers.length;
      await until('reading again', () => numbers.length > before);
      await at.server.kill9();
      await sleep(200);
      await at.server.restart();
    }
    await publishing;
    await until('all messages', () => numbers.length >= total, 30_000);
    await sleep(200);
    expect(numbers).toEqual(upTo(total));
    expect(reader.recreated).toBeGreaterThanOrEqual(3);
    expect(reader.recreated).toBeLessThanOrEqual(8);
  });

  it('reads on when its consumer is deleted under it', { timeout: 20_000 }, async () => {
    const reader = read();
    await publish(0, 10);
    await until('ten messages', () => numbers.length === 10);
    const list = await at.bus.request('$JS.API.CONSUMER.NAMES.FLOWTAG_EV', '', Buffer.alloc(0), 2_000);
    const { consumers } = JSON.parse(Buffer.from(list.data).toString()) as { consumers: string[] };
    expect(consumers).toHaveLength(1);
    await at.bus.request(`$JS.API.CONSUMER.DELETE.FLOWTAG_EV.${consumers[0]}`, '', Buffer.alloc(0), 2_000);
    await publish(10, 20);
    await until('twenty messages', () => numbers.length === 20);
    expect(numbers).toEqual(upTo(20));
    expect(reader.recreated).toBe(1);
  });

  it('delivers nothing while paused, holds a bounded number, and goes on', { timeout: 30_000 }, async () => {
    const reader = read();
    await until('the first pull', () => at.bus.connected);
    reader.pause();
    await publish(0, 3_000);
    await sleep(1_000);
    expect(numbers).toEqual([]);
    expect(reader.lastSeq).toBe(0);
    reader.resume();
    await until('all', () => numbers.length === 3_000);
    expect(numbers).toEqual(upTo(3_000));
    expect(reader.recreated).toBe(0);
  });

  it('pauses in the middle of a delivery and survives its requests running out', {
    timeout: 30_000,
  }, async () => {
    await publish(0, 1_000);
    const reader: Reader = read({
      expiresMs,
      onMessage: (message) => {
        numbers.push(numberOf(message));
        if (numbers.length === 300) reader.pause();
      },
    });
    await until('the pause', () => numbers.length === 300);
    await sleep(3 * expiresMs);
    expect(numbers).toHaveLength(300);
    reader.resume();
    await until('the rest', () => numbers.length === 1_000);
    expect(numbers).toEqual(upTo(1_000));
    expect(reader.recreated).toBe(0);
  });

  it('asks the option `paused` too', async () => {
    let full = true;
    const reader = read({ paused: () => full });
    await publish(0, 50);
    await sleep(500);
    expect(numbers).toEqual([]);
    full = false;
    await until('all', () => numbers.length === 50);
    await reader.close();
  });

  it('stays idle without making its consumer anew', { timeout: 20_000 }, async () => {
    const reader = read({ expiresMs });
    await sleep(3 * expiresMs);
    await publish(0, 5);
    await until('five', () => numbers.length === 5);
    expect(reader.recreated).toBe(0);
  });

  it('reads messages of any size that the server takes', async () => {
    await publish(0, 20, 1_000_000);
    const reader = read();
    await until('twenty', () => numbers.length === 20);
    expect(numbers).toEqual(upTo(20));
    expect(reader.recreated).toBe(0);
  });

  it('passes over a message whose handling throws', async () => {
    await publish(0, 10);
    read({
      onMessage: (message) => {
        if (numberOf(message) === 4) throw new Error('defect');
        numbers.push(numberOf(message));
      },
    });
    await until('the rest', () => numbers.length === 9);
    expect(numbers).toEqual(upTo(10).filter((n) => n !== 4));
  });

  it('says what was discarded before it began', { timeout: 20_000 }, async () => {
    await at.close();
    at = await startBus({ limits: { ...LIMITS, eventBytes: 1 << 20 } });
    await publish(0, 100, 100_000);
    const { firstSeq } = await at.bus.streamState('FLOWTAG_EV');
    expect(firstSeq).toBeGreaterThan(50);
    const skipped: number[][] = [];
    read({ startSeq: 11, onSkipped: (from, to) => skipped.push([from, to]) });
    await until('the rest', () => numbers.at(-1) === 99);
    expect(skipped).toEqual([[11, firstSeq - 1]]);
    expect(seqs[0]).toBe(firstSeq);
  });

  it('says what was discarded while it was too slow', { timeout: 30_000 }, async () => {
    await at.close();
    at = await startBus({ limits: { ...LIMITS, eventBytes: 1 << 20 } });
    const skipped: number[][] = [];
    await publish(0, 10);
    const reader = read({ expiresMs, onSkipped: (from, to) => skipped.push([from, to]) });
    await until('the first ten', () => numbers.length === 10);
    reader.pause();
    await sleep(3 * expiresMs); // its requests run out
    await publish(10, 100, 100_000);
    await sleep(200);
    reader.resume();
    await until('the rest', () => numbers.at(-1) === 99);
    const gap = seqs.findIndex((seq, i) => i > 0 && seq !== seqs[i - 1]! + 1);
    expect(skipped).toEqual([[seqs[gap - 1]! + 1, seqs[gap]! - 1]]);
  });

  it('stops when the stream begins anew', { timeout: 20_000 }, async () => {
    await publish(0, 10);
    const errors: BusError[] = [];
    const reader = read({ onReplaced: (error) => errors.push(error) });
    await until('ten', () => numbers.length === 10);
    await at.bus.request('$JS.API.STREAM.DELETE.FLOWTAG_EV', '', Buffer.alloc(0), 2_000);
    await provisionStreams(at.bus, LIMITS);
    await until('the end', () => errors.length === 1);
    expect(errors[0]!.code).toBe('STREAM_REPLACED');
    expect(errors[0]!.message).toContain('read up to 10');
    await reader.close();
  });

  it('waits for a stream that is not there yet, without a flood of lines', { timeout: 20_000 }, async () => {
    await at.bus.request('$JS.API.STREAM.DELETE.FLOWTAG_EV', '', Buffer.alloc(0), 2_000);
    const { log, lines } = recordLog();
    const reader = read({ log });
    await sleep(1_500);
    expect(lines.map(({ msg }) => msg)).toEqual(['cannot read, retrying']);
    await provisionStreams(at.bus, LIMITS);
    await publish(0, 5);
    await until('five', () => numbers.length === 5);
    expect(reader.recreated).toBe(0);
  });

  it('closes at once while the server is away', { timeout: 20_000 }, async () => {
    await at.server.kill9();
    await until('disconnected', () => !at.bus.connected);
    const reader = read();
    await sleep(100);
    const limit = sleep(900, 'late'); // close() itself gives up waiting after 1 s
    expect(await Promise.race([reader.close(), limit])).toBeUndefined();
  });

  it('leaves no consumer behind', async () => {
    const reader = read();
    await publish(0, 1);
    await until('one', () => numbers.length === 1);
    await reader.close();
    const consumers = async (): Promise<number> => {
      const list = await at.bus.request('$JS.API.CONSUMER.NAMES.FLOWTAG_EV', '', Buffer.alloc(0), 2_000);
      return JSON.parse(Buffer.from(list.data).toString()).total;
    };
    await expect.poll(consumers).toBe(0);
  });
});
