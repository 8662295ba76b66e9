// A host that is cut off from the bus, killed meanwhile, and back: what it appended is stored once and in order, or
// counted. What it appended is read from its own record, not from the spool.
import { writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { EventBatch } from '../../../schemas/events.ts';
import { Join } from '../../../services/correlator/join.ts';
import { readTruth } from '../../support/simulated-host.ts';
import { until } from '../runtime/support.ts';
import { flowsOf, numbersOf, Rig } from './rig.ts';

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
    expect(await host.end('SIGTERM')).toBe(0);
    const batches = await rig.stored();
    expectGapless(batches);
    expect(flowsOf(batches)).toEqual(readTruth(rig.dataDir).flows);
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
  expect(await host.end('SIGKILL')).toBe('SIGKILL');
  rig.link.set('up');
  host = await rig.host({ boot: 'boot-2' }); // as after a reboot
  await sleep(500);
  expect(await host.end('SIGTERM')).toBe(0);
  const batches = await rig.stored();
  expectGapless(batches);
  expect([...new Set(batches.map(({ boot }) => boot))]).toEqual(['boot-1', 'boot-2']);
  const { flows, uncertain } = readTruth(rig.dataDir);
  const stored = flowsOf(batches);
  for (const key of uncertain.keys()) stored.delete(key);
  expect(stored).toEqual(flows);
  expect(rig.spoolBytes()).toBe(0);
});

it('may store a batch twice after the duplicate window, which the join knows by its number', {
  timeout: 90_000,
}, async () => {
  const { config } = await rig.api('STREAM.INFO.FLOWTAG_EV');
  await rig.api('STREAM.UPDATE.FLOWTAG_EV', { ...config, duplicate_window: 100_000_000 });
  const host = await rig.host();
  rig.link.set('cut');
  await sleep(1_000);
  expect(await host.end('SIGKILL')).toBe('SIGKILL');
  rig.link.set('up');
  const spool = `${rig.dataDir}/spool`;
  await cp(spool, `${spool}.copy`, { recursive: true });
  for (let times = 0; times < 2; times++) {
    await cp(`${spool}.copy`, spool, { recursive: true }); // as if no acknowledgement had arrived
    const again = await rig.host({ flowsPerSecond: 0 });
    await until('the spool to be empty', () => rig.spoolBytes() === 0);
    expect(await again.end('SIGKILL')).toBe('SIGKILL');
    await sleep(200);
  }
  const batches = await rig.stored();
  const once = batches.slice(batches.findIndex(({ seq }, at) => at > 0 && seq === 1));
  expect(() => flowsOf(batches)).toThrow('twice');
  const join = new Join(LIMITS);
  const flows = batches.flatMap((batch, at) => join.accept(batch.host, batch, at + 1).flows);
  expect(flows).toHaveLength(flowsOf(once).size);
  expect(join.counters.repeatedBatches).toBe(once.length);
});

it('leaves on disk what cannot be published when it is stopped in order, and says so', {
  timeout: 90_000,
}, async () => {
  let host = await rig.host();
  await sleep(300);
  rig.link.set('cut');
  await sleep(1_000);
  expect(await host.end('SIGTERM')).toBe(0);
  expect(host.log()).toContain('stays in the spool for the next start');
  expect(host.log()).not.toContain('dropped');
  rig.link.set('up');
  host = await rig.host();
  expect(await host.end('SIGTERM')).toBe(0);
  const batches = await rig.stored();
  expectGapless(batches);
  expect(flowsOf(batches)).toEqual(readTruth(rig.dataDir).flows);
});

it('counts exactly what had to go at the bound, through a restart', { timeout: 90_000 }, async () => {
  const small = { spoolBytes: 12 << 20, segmentBytes: 1 << 19, flowsPerSecond: 10_000 };
  let host = await rig.host(small);
  rig.link.set('cut');
  await until('the bound', () => host.log().includes('the oldest events went'), 45_000).catch(
    (error: Error) => {
      throw new Error(`${error.message}: ${rig.spoolBytes()} bytes\n${host.log()}`);
    },
  );
  expect(await host.end('SIGKILL')).toBe('SIGKILL');
  rig.link.set('up');
  host = await rig.host({ ...small, flowsPerSecond: 100 });
  await until('the spool to be empty', () => rig.spoolBytes() < 100_000, 30_000);
  expect(await host.end('SIGTERM')).toBe(0);

  const batches = await rig.stored();
  const { flows, uncertain } = readTruth(rig.dataDir);
  const stored = flowsOf(batches);
  const missing = [...flows.keys()].filter((key) => !stored.has(key));
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
  expect(Math.max(...lost)).toBe(missing.filter((key) => !uncertain.has(key)).length);
});

it('goes on in memory where the spool cannot be written', { timeout: 60_000 }, async () => {
  writeFileSync(join(rig.dataDir, 'spool'), 'not a directory');
  const host = await rig.host();
  await sleep(300);
  rig.link.set('cut');
  await sleep(1_500);
  rig.link.set('up');
  await sleep(1_500);
  expect(await host.end('SIGTERM')).toBe(0);
  expect(host.log()).toContain('the spool cannot be written: events wait in memory');
  const batches = await rig.stored();
  expectGapless(batches);
  expect(flowsOf(batches)).toEqual(readTruth(rig.dataDir).flows);
});

it('refuses a spool that another one uses, and says which', { timeout: 60_000 }, async () => {
  await rig.host();
  await expect(rig.host()).rejects.toThrow(/another capture uses the spool in .*--spool-dir/);
});
