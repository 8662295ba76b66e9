import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpack } from '../../../schemas/codec.ts';
import { status } from '../../../schemas/status.ts';
import { type Bus, type BusMessage, connectBus } from '../../../services/runtime/bus.ts';
import { provisionStreams } from '../../../services/runtime/bus-streams.ts';
import { startHeartbeat } from '../../../services/runtime/heartbeat.ts';
import { openOps } from '../../../services/runtime/ops.ts';
import { openLink } from '../../support/link.ts';
import { freePort, startNatsServer } from '../../support/nats-server.ts';
import { event, LIMITS, quiet, readAll, recordLog, startBus, until } from './support.ts';

const bytes = (text: string) => Buffer.from(text);

describe('connectBus', () => {
  it('waits for a server that is away, and says so once', { timeout: 20_000 }, async () => {
    const port = await freePort();
    const { log, lines } = recordLog();
    const connecting = connectBus({ server: `nats://me:secret@127.0.0.1:${port}`, name: 'test', log });
    await sleep(1_500);
    expect(lines.map(({ msg }) => msg)).toEqual(['bus not reachable, retrying']);
    const server = await startNatsServer({ port });
    const bus = await connecting;
    expect(bus.connected).toBe(true);
    expect(lines.map(({ msg }) => msg)).toEqual(['bus not reachable, retrying', 'bus reached']);
    expect(JSON.stringify(lines)).not.toContain('secret');
    await bus.close();
    await server.stop();
  });

  it('gives up waiting when told to', async () => {
    const port = await freePort();
    const abort = new AbortController();
    const connecting = connectBus({
      server: `nats://127.0.0.1:${port}`,
      name: 'test',
      signal: abort.signal,
      log: quiet,
    });
    setTimeout(() => abort.abort(), 100);
    await expect(connecting).rejects.toMatchObject({ code: 'ABORTED', exitCode: 0 });
  });

  it('closes while the server is away, and while readers and publishers are open', {
    timeout: 20_000,
  }, async () => {
    const server = await startNatsServer();
    const bus = await connectBus({ server: server.url, name: 'test', log: quiet });
    bus.reader({
      stream: 'FLOWTAG_EV',
      filter: 'flowtag.ev.>',
      startSeq: 1,
      onMessage: () => undefined,
      log: quiet,
    });
    const publisher = bus.publisher({});
    await server.kill9();
    await until('disconnected', () => !bus.connected);
    publisher.publish(event(0));
    const began = performance.now();
    await bus.close();
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(bus.connected).toBe(false);
    expect(publisher.stats).toMatchObject({ queued: 0, dropped: 1 });
    await server.stop();
  });
});

it('writes a bounded number of lines about a link that comes and goes', { timeout: 60_000 }, async () => {
  const at = await startBus();
  const link = await openLink(at.server.port);
  const { log, lines } = recordLog();
  const bus = await connectBus({ server: `nats://127.0.0.1:${link.port}`, name: 'far', log });
  const publisher = bus.publisher({});
  bus.reader({
    stream: 'FLOWTAG_EV',
    filter: 'flowtag.ev.>',
    startSeq: 1,
    onMessage: () => undefined,
    log,
  });
  const flaps = 10;
  for (let times = 0; times < flaps; times++) {
    publisher.publish(event(times));
    link.set('cut');
    await until('lost', () => !bus.connected);
    link.set('up');
    await until('restored', () => bus.connected);
  }
  const said = new Map<string, number>();
  for (const { connection = '', msg } of lines) {
    const line = `${connection}: ${msg}`;
    said.set(line, (said.get(line) ?? 0) + 1);
  }
  // Of ten times, the 1st, 2nd, 4th and 8th.
  expect(said.get('far: bus connection lost, reconnecting')).toBe(4);
  expect([...said].filter(([, times]) => times > 4)).toEqual([]);
  await bus.close();
  link.close();
  await at.close();
});

describe('bus', () => {
  let at: Awaited<ReturnType<typeof startBus>>;
  let other: Bus;
  beforeEach(async () => {
    at = await startBus();
    other = await at.open();
  });
  afterEach(() => at.close());

  it('provisions again without a change, and refuses other limits', async () => {
    await provisionStreams(other, LIMITS);
    const changed = { ...LIMITS, eventBytes: 1 << 20 };
    await expect(provisionStreams(other, changed)).rejects.toMatchObject({
      code: 'STREAM_MISMATCH',
      message: expect.stringMatching(
        /FLOWTAG_EV .*max_bytes is 268435456, asked for 1048576.*nats stream edit/,
      ),
    });
    await expect(provisionStreams(other, { ...LIMITS, flowAgeMs: 1 })).rejects.toMatchObject({ exitCode: 1 });
  });

  it('lets nobody purge a stream or delete its messages, and brings an older one up to date', async () => {
    const ask = async (api: string, body: unknown = undefined) => {
      const reply = await other.request(`$JS.API.${api}`, '', bytes(JSON.stringify(body) ?? ''), 2_000);
      return JSON.parse(Buffer.from(reply.data).toString());
    };
    const streams = ['FLOWTAG_EV', 'FLOWTAG_FLOW', 'FLOWTAG_DEAD'];
    const buckets = ['CHECKPOINT', 'LEASE', 'SINK'].map((name) => `KV_FLOWTAG_${name}`);
    const older = { deny_delete: false, deny_purge: false };
    for (const stream of [...streams, ...buckets]) {
      const { config } = await ask(`STREAM.INFO.${stream}`);
      await ask(`STREAM.DELETE.${stream}`);
      const more = buckets.includes(stream) ? { allow_rollup_hdrs: true } : {};
      await ask(`STREAM.CREATE.${stream}`, { ...config, ...older, ...more });
    }
    const publisher = other.publisher({});
    publisher.publish(event(1));
    expect(await publisher.flush(5_000)).toBe(true);
    await provisionStreams(other, LIMITS);
    for (const stream of [...streams, ...buckets])
      expect((await ask(`STREAM.PURGE.${stream}`)).error?.description, stream).toMatch(/purge not permitted/);
    for (const stream of [...streams, ...buckets.filter((bucket) => bucket !== 'KV_FLOWTAG_LEASE')])
      expect((await ask(`STREAM.MSG.DELETE.${stream}`, { seq: 1 })).error?.description, stream).toMatch(
        /delete not permitted/,
      );
    expect(await other.streamState('FLOWTAG_EV')).toMatchObject({ firstSeq: 1, lastSeq: 1 });
  });

  it('does not bring a stream up to date that differs in more', async () => {
    const changed = { ...LIMITS, flowBytes: 1 << 20 };
    const reply = await other.request('$JS.API.STREAM.INFO.FLOWTAG_FLOW', '', bytes(''), 2_000);
    const { config } = JSON.parse(Buffer.from(reply.data).toString());
    await other.request('$JS.API.STREAM.DELETE.FLOWTAG_FLOW', '', bytes(''), 2_000);
    const older = bytes(JSON.stringify({ ...config, deny_purge: false }));
    await other.request('$JS.API.STREAM.CREATE.FLOWTAG_FLOW', '', older, 2_000);
    await expect(provisionStreams(other, changed)).rejects.toMatchObject({
      code: 'STREAM_MISMATCH',
      message: expect.stringMatching(/max_bytes .*deny_purge is false, asked for true/),
    });
  });

  it('makes streams with the duplicate window asked for', async () => {
    const reply = await other.request('$JS.API.STREAM.INFO.FLOWTAG_FLOW', '', bytes(''), 2_000);
    const { config } = JSON.parse(Buffer.from(reply.data).toString());
    expect(config).toMatchObject({
      storage: 'file',
      discard: 'old',
      num_replicas: 1,
      duplicate_window: 120e9,
      max_age: 3_600e9,
      subjects: ['flowtag.flow.>', 'flowtag.request.>', 'flowtag.ledger.>'],
    });
  });

  it('tells what a stream holds', async () => {
    const publisher = at.bus.publisher({});
    publisher.publish(event(0));
    publisher.publish(event(0)); // a repeat by id
    publisher.publish(event(1));
    await publisher.flush(5_000);
    expect(await other.streamState('FLOWTAG_EV')).toMatchObject({ firstSeq: 1, lastSeq: 2 });
    await expect(other.streamState('NONE')).rejects.toMatchObject({ code: 'JETSTREAM' });
    expect(await readAll(other)).toEqual([0, 1]);
  });

  it('keeps positions over instances, and fences the one that lost', async () => {
    const [mine, theirs] = [await at.bus.positions('P'), await other.positions('P')];
    expect(await mine.get('p.3')).toBeUndefined();
    const first = await mine.set('p.3', bytes('1'), 0);
    const found = await theirs.get('p.3');
    expect(found).toEqual({ value: bytes('1'), revision: first });
    const second = await theirs.set('p.3', bytes('2'), found!.revision);
    await expect(mine.set('p.3', bytes('1b'), first)).rejects.toMatchObject({ code: 'FENCED' });
    await expect(mine.set('p.3', bytes('1b'), 0)).rejects.toMatchObject({ code: 'FENCED' });
    expect(await mine.get('p.3')).toEqual({ value: bytes('2'), revision: second });
  });

  it('keeps positions over a crash of the server', { timeout: 20_000 }, async () => {
    const positions = await at.bus.positions('P');
    const first = await positions.set('p.3', bytes('1'), 0);
    await at.server.kill9();
    await expect(positions.set('p.3', bytes('2'), first)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await at.server.restart();
    await until('connected', () => at.bus.connected);
    const third = await positions.set('p.3', bytes('3'), first);
    expect(await positions.get('p.3')).toEqual({ value: bytes('3'), revision: third });
  });

  it('answers requests, and says when nobody does', async () => {
    const service = other.serve('flowtag.api.flows', 'sink', async (message) => {
      if (message.schema !== 'api.v1') throw new Error('not for me');
      return { schema: 'api.v1', data: Buffer.concat([message.data, bytes('!')]) };
    });
    await other.request('$JS.API.INFO', '', bytes(''), 2_000); // the server knows the subscription
    const reply = await at.bus.request('flowtag.api.flows', 'api.v1', bytes('hello'), 2_000);
    expect([reply.schema, Buffer.from(reply.data).toString(), reply.seq]).toEqual(['api.v1', 'hello!', 0]);
    await expect(at.bus.request('flowtag.api.flows', '', bytes(''), 200)).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    service.close();
    await other.request('$JS.API.INFO', '', bytes(''), 2_000); // the server has seen the end of the subscription
    await expect(at.bus.request('flowtag.api.flows', '', bytes(''), 2_000)).rejects.toMatchObject({
      code: 'NO_RESPONDERS',
    });
  });

  it('leaves requests unanswered above a bound', async () => {
    let answering = 0;
    let most = 0;
    other.serve('busy', 'q', async () => {
      most = Math.max(most, ++answering);
      await sleep(300);
      answering--;
      return { schema: '', data: bytes('') };
    });
    await other.request('$JS.API.INFO', '', bytes(''), 2_000);
    const requests = Array.from({ length: 100 }, () => at.bus.request('busy', '', bytes(''), 600));
    const results = await Promise.allSettled(requests);
    expect(most).toBe(64);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(64);
  });

  it('delivers live messages, also after one whose handling throws', async () => {
    const seen: string[] = [];
    const subscription = other.subscribe('live.>', ({ subject }) => {
      seen.push(subject);
      if (seen.length === 1) throw new Error('defect');
    });
    await other.request('$JS.API.INFO', '', bytes(''), 2_000);
    at.bus.publish('live.a', '', bytes(''));
    at.bus.publish('live.b', '', bytes(''));
    await until('both', () => seen.length === 2);
    expect(seen).toEqual(['live.a', 'live.b']);
    subscription.close();
  });

  it('beats at once with everything of the status', async () => {
    const beats: BusMessage[] = [];
    other.subscribe('flowtag.status.>', (message) => void beats.push(message));
    await other.request('$JS.API.INFO', '', bytes(''), 2_000);
    const noOps = await openOps('sink', { opsListen: 'off', host: 'h' });
    const heartbeat = startHeartbeat(at.bus, noOps, () => ({
      role: 'sink',
      instance: 'a.b',
      host: 'h',
      startedNs: 1n,
      state: 'ready',
      notes: [],
      counters: { stored: 7 },
    }));
    await until('one beat', () => beats.length === 1);
    heartbeat.close();
    expect([beats[0]!.subject, beats[0]!.schema]).toEqual(['flowtag.status.sink.a=2Eb', 'status.v1']);
    const beat = status.parse(unpack(beats[0]!.data));
    expect(beat.counters).toEqual({ stored: 7 });
    expect(Math.abs(Number(beat.timeNs / 1_000_000n) - Date.now())).toBeLessThan(5_000);
  });
});
