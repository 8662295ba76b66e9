// The shipped images under faults that only containers can have: what hosts published is what the store holds.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Bus, connectBus, type Publisher } from '../../../services/runtime/bus.ts';
import { ENGINE_START_MS, useDocker } from '../../support/docker.ts';
import { DRAIN_MS, Fleet } from '../correlator/fleet.ts';
import { quiet } from '../correlator/rig.ts';
import { ContainerFleet } from './container-fleet.ts';

const TICKS = 250;
const STORED_MS = 90_000;

let missing: string | undefined;
let containers: ContainerFleet;
let bus: Bus;
let publisher: Publisher;

beforeAll(async () => {
  missing = await useDocker();
}, ENGINE_START_MS);

beforeEach(async (context) => {
  context.skip(missing !== undefined, missing);
  containers = await ContainerFleet.start();
  bus = await connectBus({ server: containers.server, name: 'hosts', log: quiet });
  publisher = bus.publisher({ queueBytes: 64 << 20 });
}, 120_000);

afterEach(async () => {
  await bus?.close();
  await containers?.stop();
});

const FAULTS: Record<string, () => Promise<void>> = {
  none: () => Promise.resolve(),
  'kill -9 of every part in turn': async () => {
    for (const part of ['correlator', 'sink', 'nats', 'store'] as const) await containers.kill(part);
  },
  'every part frozen in turn': async () => {
    for (const part of ['correlator', 'sink', 'nats', 'store'] as const) await containers.freeze(part);
  },
  'correlator and sink unplugged in turn': async () => {
    for (const part of ['correlator', 'sink'] as const) await containers.unplug(part);
  },
};

test.each(Object.entries(FAULTS))(
  'each flow is stored once; fault: %s',
  { timeout: 240_000 },
  async (_, fault) => {
    const hosts = new Fleet(undefined, BigInt(Date.now()) * 1_000_000n);
    const done = fault();
    for (let tick = 0; tick < TICKS; tick++) {
      for (const message of hosts.drain(tick, tick === TICKS - 1)) publisher.publish(message);
      await sleep(DRAIN_MS);
    }
    await done;
    expect(await publisher.flush(60_000)).toBe(true);
    await expect
      .poll(() => storedFlows().then(({ size }) => size, String), { timeout: STORED_MS, interval: 500 })
      .toBe(hosts.flows.size)
      .catch(async (error) => {
        throw new Error(`${(error as Error).message}\n${await containers.logs()}`);
      });
    expect(await storedFlows()).toEqual(hosts.flows);
    const [counts] = await containers.query('SELECT count(), uniqExact(flow_id) FROM flows');
    expect(counts!.map(Number)).toEqual([hosts.flows.size, hosts.flows.size]);
  },
);

test('as process 1 of its container each service stops in order on SIGTERM', {
  timeout: 120_000,
}, async () => {
  for (const part of ['correlator', 'sink', 'store'] as const)
    expect([part, await containers.terminate(part)]).toEqual([part, 0]);
});

/** As the hosts tell it: host and event, to the path or the reason. */
async function storedFlows(): Promise<Map<string, string>> {
  const rows = await containers.query(
    "SELECT host_name, lower(hex(flow_id)), if(url_path = '', attribution_reason, url_path) FROM flows",
  );
  return new Map(
    (rows as [string, string, string][]).map(([host, id, said]) => [
      `${host} ${Number.parseInt(id.slice(16), 16)}`,
      said,
    ]),
  );
}
