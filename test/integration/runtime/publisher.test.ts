import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectBus } from '../../../services/runtime/bus.ts';
import { event, readAll, recordLog, startBus, until, upTo } from './support.ts';

let at: Awaited<ReturnType<typeof startBus>>;
beforeEach(async () => {
  at = await startBus();
});
afterEach(() => at.close());

describe('publisher', () => {
  it('stores everything in order and counts it', async () => {
    const publisher = at.bus.publisher({});
    for (const n of upTo(2_000)) publisher.publish(event(n));
    expect(await publisher.flush(10_000)).toBe(true);
    expect(publisher.stats).toEqual({
      queued: 0,
      queuedBytes: 0,
      acked: 2_000,
      ackedRows: 4_000,
      dropped: 0,
      droppedRows: 0,
      resent: 0,
    });
    expect(await readAll(at.bus)).toEqual(upTo(2_000));
  });

  it('loses, repeats and reorders nothing while the server is killed three times', {
    timeout: 60_000,
  }, async () => {
    const publisher = at.bus.publisher({});
    const killing = (async () => {
      for (let times = 0; times < 3; times++) {
        await sleep(250);
        await at.server.kill9();
        await sleep(250);
        await at.server.restart();
      }
    })();
    const total = 8_000;
    for (const n of upTo(total)) {
      publisher.publish(event(n));
      if (n % 50 === 49) await sleep(10);
    }
    await killing;
    expect(await publisher.flush(20_000)).toBe(true);
    expect(publisher.stats).toMatchObject({ acked: total, dropped: 0 });
    expect(await readAll(at.bus)).toEqual(upTo(total));
  });

  it('drops and counts what does not fit the queue, and keeps what it took', {
    timeout: 30_000,
  }, async () => {
    const dropped: string[] = [];
    const publisher = at.bus.publisher({
      queueBytes: 100_000,
      onDrop: ({ reason }) => dropped.push(reason),
    });
    await at.server.kill9();
    await until('disconnected', () => !at.bus.connected);
    for (const n of upTo(200)) publisher.publish(event(n, 744)); // with the overhead 1000 bytes each
    expect(publisher.stats).toMatchObject({
      queued: 100,
      queuedBytes: 100_000,
      dropped: 100,
      droppedRows: 200,
    });
    expect(dropped).toEqual(Array(100).fill('queue_full'));
    expect(await publisher.flush(100)).toBe(false);
    await at.server.restart();
    expect(await publisher.flush(15_000)).toBe(true);
    expect(await readAll(at.bus)).toEqual(upTo(100));
  });

  it('drops one that the server never takes and goes on', async () => {
    const reasons: string[] = [];
    const publisher = at.bus.publisher({ onDrop: ({ reason }) => reasons.push(reason) });
    publisher.publish(event(0));
    publisher.publish(event(1, 2 << 20)); // above the server's max_payload of 1 MiB
    publisher.publish(event(2));
    expect(await publisher.flush(5_000)).toBe(true);
    expect(publisher.stats).toMatchObject({ acked: 2, dropped: 1, droppedRows: 2 });
    expect(reasons).toEqual(['too_large']);
    expect(await readAll(at.bus)).toEqual([0, 2]);
  });

  it.each([
    ['too long', `flowtag.ev.uprobe.3.${'x'.repeat(5_000)}`],
    ['with white space', 'flowtag.ev.uprobe.3.a b'],
    ['with an empty token', 'flowtag.ev..3.h'],
  ])('drops a subject that is %s and stores what comes after it', async (_, subject) => {
    const dropped: unknown[] = [];
    const { log, lines } = recordLog();
    const bus = await connectBus({ server: at.server.url, name: 'test', log });
    const publisher = bus.publisher({ onDrop: (drop) => dropped.push(drop) });
    publisher.publish({ ...event(0), subject });
    publisher.publish(event(1));
    expect(await publisher.flush(5_000)).toBe(true);
    expect(dropped).toEqual([{ subject, rows: 2, reason: 'bad_subject' }]);
    expect(publisher.stats).toMatchObject({ acked: 1, dropped: 1, droppedRows: 2, resent: 0 });
    expect(lines.map(({ msg }) => msg)).toEqual(['message dropped']);
    expect(await readAll(at.bus)).toEqual([1]);
    await bus.close();
  });

  it('takes replies that say nothing for "not stored"', { timeout: 20_000 }, async () => {
    const answers = [
      '',
      'not JSON',
      '{"stream":"X"}',
      '{"error":{"code":503,"description":"later"}}',
      '{"stream":"X","seq":1}',
    ];
    const server = await at.open();
    const seen: string[] = [];
    server.serve('elsewhere', 'q', async (message) => {
      seen.push(message.header('Nats-Msg-Id') ?? '');
      return { schema: '', data: Buffer.from(answers[seen.length - 1] ?? answers.at(-1)!) };
    });
    await server.request('elsewhere', '', Buffer.alloc(0), 1_000); // the subscription is in place
    seen.length = 0;
    const { log, lines } = recordLog();
    const bus = await connectBus({ server: at.server.url, name: 'test', log });
    const publisher = bus.publisher({});
    publisher.publish({ ...event(0), subject: 'elsewhere' });
    expect(await publisher.flush(10_000)).toBe(true);
    expect(seen).toEqual(Array(5).fill('h-0'));
    expect(publisher.stats).toMatchObject({ acked: 1, resent: 4, dropped: 0 });
    expect(lines.map(({ msg }) => msg)).toEqual([
      'publishing again what is unacknowledged',
      'publishing works again',
    ]);
    await bus.close();
  });

  it('keeps what nobody listens to yet', { timeout: 20_000 }, async () => {
    const reasons: string[] = [];
    const publisher = at.bus.publisher({ onDrop: ({ reason }) => reasons.push(reason) });
    publisher.publish({ ...event(0), subject: 'nowhere' });
    expect(await publisher.flush(1_500)).toBe(false);
    expect(publisher.stats).toMatchObject({ queued: 1, acked: 0, dropped: 0 });
    expect(publisher.stats.resent).toBeGreaterThanOrEqual(1);
    expect(publisher.stats.resent).toBeLessThanOrEqual(4); // it waits between attempts
    publisher.close();
    expect(publisher.stats).toMatchObject({ queued: 0, dropped: 1 });
    publisher.publish(event(1));
    expect(publisher.stats).toMatchObject({ queued: 0, dropped: 2 });
    expect(reasons).toEqual(['closed', 'closed']);
  });
});
