// A host that is cut off from the bus, killed meanwhile, and back: what it appended is stored once and in order, or
// counted. What it appended is read from its own record, not from the spool.
import { writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { EventBatch } from '../../../schemas/events.ts';
import { Join } from '../../../services/correlator/join.ts';
import { until } from '../runtime/support.ts';
import { numbersOf, Rig, rowsOf } from './rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.open();
});
afterEach(() => rig.close());

const LIMITS = {
  windowNs: 60_000_000_000n,
  lateNs: 1_000_000_000n,
  maxRequests: 100_000,
  maxBoots: 10,
  silentNs: 3_600_000_000_000n,
};

const upTo = (end: number): number[] => Array.from({ length: end }, (_, n) => n + 1);

/** All runs, each whole, one after the other. */
function expectGapless(batches: readonly EventBatch[]): void {
  const runs = batches.map(({ ledger }) => ledger.sinceNs);
  expect(runs).toEqual([...runs].sort((a, b) => Number(a - b)));
  for (const numbers of numbersOf(batches).values()) expect(numbers).toEqual(upTo(numbers.length));
}

/** What hosts captured, once. */
function expectAll(batches: readonly EventBatch[]): void {
  const { certain, doubtful } = rig.truth();
  const stored = rowsOf(batches);
  for (const key of doubtful.keys()) stored.delete(key);
  expect(stored).toEqual(new Set(certain.keys()));
}

it('captures from its start while there is no bus, says so, and publishes all of it in order', {
  timeout: 60_000,
}, async () => {
  rig.link.set('cut');
  const host = await rig.host();
  await sleep(2_000);
  expect(rig.spoolBytes()).toBeGreaterThan(100_000);
  rig.link.set('up');
  await until('the spool to be empty', () => rig.spoolBytes() < 100_000, 30_000);
  expect(await host.stop()).toMatchObject({ flushed: true });
  expect(host.log().match(/no bus yet/g)).toHaveLength(1);
  const batches = await rig.stored();
  expectGapless(batches);
  expectAll(batches);
});

it.each(['cut', 'hole'] as const)(
  'loses and repeats nothing when the link is a %s under load',
  {
    timeout: 90_000,
  },
  async (state) => {
    const host = await rig.host();
    await sleep(500);
    for (let times = 0; times < 2; times++) {
      rig.link.set(state);
      await sleep(4_000);
      expect(rig.spoolBytes()).toBeGreaterThan(500_000);
      rig.link.set('up');
      await until('the spool to be empty', () => rig.spoolBytes() < 100_000, 30_000);
    }
    expect(await host.stop()).toMatchObject({ flushed: true });
    const batches = await rig.stored();
    expectGapless(batches);
    expectAll(batches);
    expect(rig.spoolBytes()).toBe(0);
  },
);

it('publishes after kill -9 what earlier runs appended while they were cut off', {
  timeout: 90_000,
}, async () => {
  let host = await rig.host({ boot: 'boot-1' });
  await sleep(300);
  rig.link.set('cut');
  await sleep(2_000);
  await host.kill9();
  rig.link.set('up');
  host = await rig.host({ boot: 'boot-2' }); // as after a reboot
  await sleep(500);
  expect(await host.stop()).toMatchObject({ flushed: true });
  const batches = await rig.stored();
  expectGapless(batches);
  expect([...new Set(batches.map(({ boot }) => boot))]).toEqual(['boot-1', 'boot-2']);
  expectAll(batches);
  expect(rig.spoolBytes()).toBe(0);
});

it('may store a batch twice after the duplicate window, which the join knows by its number', {
  timeout: 90_000,
}, async () => {
  const { config } = await rig.api('STREAM.INFO.FLOWTAG_EV');
  await rig.api('STREAM.UPDATE.FLOWTAG_EV', { ...config, duplicate_window: 100_000_000 });
  rig.link.set('cut');
  const host = await rig.host();
  await sleep(1_000);
  await host.kill9();
  rig.link.set('up');
  const spool = `${rig.dataDir}/spool`;
  await cp(spool, `${spool}.copy`, { recursive: true });
  for (let times = 0; times < 2; times++) {
    await cp(`${spool}.copy`, spool, { recursive: true }); // as if no acknowledgement had arrived
    const again = await rig.host({ drainMs: 3_600_000 }); // captures nothing
    await until('the spool to be empty', () => rig.spoolBytes() === 0);
    await again.kill9();
    await sleep(200);
  }
  const batches = await rig.stored();
  const once = batches.slice(batches.findIndex(({ seq }, at) => at > 0 && seq === 1));
  expect(() => rowsOf(batches)).toThrow('twice');
  const join = new Join(LIMITS);
  const joined = batches.map((batch, at) => join.accept(batch.host, batch, at + 1));
  expect(joined.flatMap(({ flows, requests }) => [...flows, ...requests])).toHaveLength(rowsOf(once).size);
  expect(join.counters.repeatedBatches).toBe(once.length);
});

it('leaves on disk what cannot be published when it is stopped in order, and says so', {
  timeout: 90_000,
}, async () => {
  let host = await rig.host({ flushMs: 1_000 });
  await sleep(300);
  rig.link.set('cut');
  await sleep(1_000);
  expect(await host.stop()).toMatchObject({ flushed: false });
  expect(host.log()).toContain('stays in the spool for the next start');
  expect(host.log()).not.toContain('dropped');
  rig.link.set('up');
  host = await rig.host();
  expect(await host.stop()).toMatchObject({ flushed: true });
  const batches = await rig.stored();
  expectGapless(batches);
  expectAll(batches);
});

it('counts exactly what had to go at the bound, through a restart', { timeout: 90_000 }, async () => {
  const small = { spoolBytes: 8 << 20, drainMs: 2 };
  let host = await rig.host(small);
  rig.link.set('cut');
  await until('the bound', () => host.log().includes('the oldest events went'), 45_000).catch(
    (error: Error) => {
      throw new Error(`${error.message}: ${rig.spoolBytes()} bytes\n${host.log()}`);
    },
  );
  await host.kill9();
  rig.link.set('up');
  host = await rig.host({ ...small, drainMs: 100 });
  await until('the spool to be empty', () => rig.spoolBytes() < 100_000, 30_000);
  expect(await host.stop()).toMatchObject({ flushed: true });

  const batches = await rig.stored();
  const { certain } = rig.truth();
  const stored = rowsOf(batches);
  const missing = [...certain.keys()].filter((key) => key.startsWith('flows') && !stored.has(key));
  expect(missing.length).toBeGreaterThan(1_000);
  for (const [run, numbers] of numbersOf(batches)) {
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    const own = batches.filter(({ ledger }) => String(ledger.sinceNs) === run);
    const { captured, dropped } = own.at(-1)!.ledger;
    const sum = (counts: Readonly<Record<string, number>>) =>
      Object.values(counts).reduce((total, count) => total + count, 0);
    expect(sum(captured)).toBe(own.reduce((total, { n }) => total + n, 0) + sum(dropped));
  }
  const lost = batches.map(({ ledger }) => ledger.dropped['spool_full.kprobe'] ?? 0);
  expect(Math.max(...lost)).toBe(missing.length);
});

it('goes on in memory where the spool cannot be written', { timeout: 60_000 }, async () => {
  writeFileSync(join(rig.dataDir, 'spool'), 'not a directory');
  const host = await rig.host();
  await sleep(300);
  rig.link.set('cut');
  await sleep(1_500);
  rig.link.set('up');
  await sleep(1_500);
  expect(await host.stop()).toMatchObject({ flushed: true });
  expect(host.log()).toContain('the spool cannot be written: events wait in memory');
  const batches = await rig.stored();
  expectGapless(batches);
  expectAll(batches);
});

it('refuses a spool that another one uses, and says which', { timeout: 60_000 }, async () => {
  await rig.host();
  await expect(rig.host()).rejects.toThrow(/another capture uses the spool in .*--spool-dir/);
});
