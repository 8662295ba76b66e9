// Several correlators share the partitions, come, go, and die.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PARTITIONS, partitionOf } from '../../../schemas/subjects.ts';
import type { Publisher } from '../../../services/runtime/bus.ts';
import { LEASE_TTL_MS } from '../../../services/runtime/bus-leases.ts';
import { Fleet } from './fleet.ts';
import { expectTruth, publish } from './load.ts';
import { Output, Rig, type Running, until } from './rig.ts';

/** Twelve hosts lie in some ten partitions, so that every instance has work. */
const HOSTS = Array.from({ length: 12 }, (_, n) => `node-${n}`);

let rig: Rig;
let publisher: Publisher;
let fleet: Fleet;
let output: Output;
beforeEach(async () => {
  rig = await Rig.open();
  await rig.provision();
  publisher = rig.bus.publisher({});
  fleet = new Fleet(HOSTS);
  output = new Output(rig.bus);
});
afterEach(() => rig.close());

function start(count: number): Running[] {
  return Array.from({ length: count }, () => rig.correlator());
}

/** Until these own all partitions, each has one owner, and each of them some; how long it took. */
async function share(running: readonly Running[]): Promise<number> {
  const beganMs = performance.now();
  await until('all partitions to be owned once', () => {
    const owned = running.map((one) => one.owned());
    const all = owned.flatMap((one) => [...one]);
    return (
      owned.every((one) => one.size > 0) && all.length === PARTITIONS && new Set(all).size === PARTITIONS
    );
  });
  return performance.now() - beganMs;
}

it.each([
  ['here: at once', 'correlator', 4_000],
  ['elsewhere: when its leases have run out', 'remoteCorrelator', LEASE_TTL_MS + 4_000],
] as const)(
  'loses and repeats nothing when one of three is killed, %s',
  { timeout: 120_000 },
  async (_, where, mostMs) => {
    const one = rig[where]();
    const others = start(2);
    await share([one, ...others]);
    let tookMs = Promise.resolve(0);
    await publish(publisher, fleet, 500, async (tick) => {
      if (tick !== 100) return;
      await one.end('SIGKILL');
      tookMs = share(others);
    });
    expect(await tookMs).toBeLessThan(mostMs);
    if (rig.sentAgain) output.publishedAgain.unflagged = 0;
    await expectTruth(fleet, output, others);
  },
);

it('grows from one to four and shrinks to one again under load', { timeout: 120_000 }, async () => {
  const [first] = start(1) as [Running];
  await share([first]);
  let others: Running[] = [];
  const tookMs: number[] = [];
  await publish(publisher, fleet, 400, async (tick) => {
    if (tick === 50) others = start(3);
    if (tick === 200) await share([first, ...others]);
    if (tick < 220 || tick % 50 !== 0 || others.length === 0) return;
    const leaving = others.pop()!;
    const beganMs = performance.now();
    const left = share([first, ...others]);
    expect(await leaving.end('SIGTERM')).toBe(0);
    await left;
    tookMs.push(performance.now() - beganMs);
  });
  expect(others).toEqual([]);
  expect(Math.max(...tookMs)).toBeLessThan(5_000);
  if (rig.sentAgain) output.publishedAgain.unflagged = 0;
  await expectTruth(fleet, output, [first]);
  expect(output.publishedAgain.flagged).toBe(0);
});

it('does no harm when an owner that was stopped for longer than its lease goes on', {
  timeout: 120_000,
}, async () => {
  const [one, two] = start(2) as [Running, Running];
  await share([one, two]);
  await publish(publisher, fleet, 300, async (tick) => {
    if (tick === 50) one.child.kill('SIGSTOP');
    if (tick === 100) await until('the other to own all', () => two.owned().size === PARTITIONS);
    if (tick === 150) one.child.kill('SIGCONT');
  });
  await until('the one to have lost its partitions', () => one.log().includes('partition lost'));
  await share([one, two]);
  output.publishedAgain.unflagged = 0; // what was on its way when it was stopped
  await expectTruth(fleet, output, [one, two]);
  await sleep(1_500); // what it still had to say would have been said
  expect(output.storedTwice).toEqual([]);
});

it('drops the one partition whose checkpoint somebody else wrote, and takes it over anew', async () => {
  const [one] = start(1) as [Running];
  await share([one]);
  await publish(publisher, fleet, 10, () => undefined);
  const positions = await rig.bus.positions('FLOWTAG_CHECKPOINT');
  const key = `p.${partitionOf(HOSTS[0]!)}`;
  await sleep(2_500); // its last checkpoint is written, and nothing more comes
  const saved = (await positions.get(key))!;
  await positions.set(key, saved.value, saved.revision);
  await publish(publisher, new Fleet(HOSTS.slice(0, 1)), 30, () => undefined);
  await until('the drop', () => one.log().includes('another correlator wrote the checkpoint'));
  await until('the next take-over', () => one.log().split('partition taken over').length === PARTITIONS + 2);
  expect(one.child.exitCode).toBeNull();
});
