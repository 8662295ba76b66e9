// The shipped images under faults that only containers can have: what hosts published is what the store holds.
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { EVENT_STREAM, parseEventSubject } from '../../../schemas/subjects.ts';
import { ENGINE_START_MS, useDocker } from '../../support/docker.ts';
import { DRAIN_MS, Fleet } from '../correlator/fleet.ts';
import { ContainerFleet } from './container-fleet.ts';
import { freeze, kill, slow, terminate, unplug } from './faults.ts';

const HOSTS = ['node-a', 'node b.example', 'nöde'];
/** Longer than the longest request. */
const LEAST_TICKS = 250;
const STORED_MS = 90_000;
const UNDER_WAY_MS = 2_000;

let missing: string | undefined;
beforeAll(async () => {
  missing = await useDocker();
}, ENGINE_START_MS);

type Fault = (containers: ContainerFleet) => Promise<void>;

/** With how many NATS servers, and what happens to them and the others. */
const CASES: Readonly<Record<string, readonly [1 | 3, Fault]>> = {
  'kill -9 of every part in turn': [
    1,
    async (containers) => {
      for (const part of ['correlator', 'sink', 'nats-0', 'store'] as const)
        await kill(containers.place(part));
    },
  ],
  'every part frozen, then correlator and sink unplugged': [
    1,
    async (containers) => {
      for (const part of ['correlator', 'sink', 'nats-0', 'store'] as const)
        await freeze(containers.place(part));
      for (const part of ['correlator', 'sink'] as const) await unplug(containers.place(part));
    },
  ],
  'slow links of correlator, sink and NATS in turn': [
    1,
    async (containers) => {
      for (const part of ['correlator', 'sink', 'nats-0'] as const)
        expect(await slow(containers.place(part)), `packets of ${part} that waited`).toBeGreaterThan(10);
    },
  ],
  'kill -9 of the leader of the events, of three NATS servers': [
    3,
    async (containers) => {
      await sleep(UNDER_WAY_MS);
      await kill(containers.place(await containers.leaderOf(EVENT_STREAM)));
    },
  ],
};

test.for(Object.entries(CASES))(
  'each flow is stored once; fault: %s',
  {
    timeout: 240_000,
  },
  async ([, [servers, fault]], context) => {
    context.skip(missing !== undefined, missing);
    await inContainers(servers, async (containers) => {
      let over = false;
      const strike = async (): Promise<void> => {
        await fault(containers).finally(() => {
          over = true;
        });
      };
      const [flows] = await Promise.all([publishUntil(() => over, containers), strike()]);
      const counts = () => containers.query('SELECT count(), uniqExact(flow_id) FROM flows');
      await expect
        .poll(() => counts().then(([row]) => row!.map(Number), String), { timeout: STORED_MS, interval: 500 })
        .toEqual([flows.size, flows.size]);
      expect(await storedFlows(containers)).toEqual(flows);
    });
  },
);

test('as process 1 of its container each service stops in order on SIGTERM', {
  timeout: 120_000,
}, async (context) => {
  context.skip(missing !== undefined, missing);
  await inContainers(1, async (containers) => {
    for (const part of ['correlator', 'sink', 'store'] as const)
      expect([part, await terminate(containers.place(part))]).toEqual([part, 0]);
  });
});

async function inContainers(servers: 1 | 3, work: Fault): Promise<void> {
  const containers = await ContainerFleet.start(servers, HOSTS);
  try {
    await work(containers);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${await containers.logs()}`, { cause: error });
  } finally {
    await containers.stop();
  }
}

/** Each host with its own credential, for as long as it takes. The flows that come of it. */
async function publishUntil(
  isOver: () => boolean,
  containers: ContainerFleet,
): Promise<ReadonlyMap<string, string>> {
  const buses = await Promise.all(HOSTS.map((host) => containers.connect('capture', host)));
  try {
    const publishers = new Map(buses.map((bus, n) => [HOSTS[n], bus.publisher({ queueBytes: 64 << 20 })]));
    const hosts = new Fleet(HOSTS, BigInt(Date.now()) * 1_000_000n);
    for (let tick = 0, last = false; !last; tick++) {
      last = tick >= LEAST_TICKS && isOver();
      for (const message of hosts.drain(tick, last))
        publishers.get(parseEventSubject(message.subject)!.host)!.publish(message);
      await sleep(DRAIN_MS);
    }
    for (const publisher of publishers.values()) expect(await publisher.flush(60_000)).toBe(true);
    return hosts.flows;
  } finally {
    await Promise.all(buses.map((bus) => bus.close()));
  }
}

/** As the hosts tell it: host and event, to the path or the reason. */
async function storedFlows(containers: ContainerFleet): Promise<Map<string, string>> {
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
