// NATS, the store and the services, each in a container of its own.
import { randomUUID } from 'node:crypto';
import type { StartedTestContainer } from 'testcontainers';
import type { BusRole } from '../../../schemas/permissions.ts';
import { type Bus, connectBus } from '../../../services/runtime/bus.ts';
import { docker, shell } from '../../support/docker.ts';
import { freePort } from '../../support/nats-server.ts';
import { quiet } from '../../support/quiet.ts';
import type { Place } from './faults.ts';
import { Keys } from './keys.ts';
import {
  natsContainer,
  type Part,
  type PartContainer,
  PORTS,
  ROLES,
  type Server,
  type Service,
  STORE_PASSWORD,
  serviceContainer,
  storeContainer,
} from './parts.ts';

/** Published ports of a network are on all addresses of the machine, where it does not say otherwise. */
const LOOPBACK_ONLY = 'com.docker.network.bridge.host_binding_ipv4=127.0.0.1';
const CONNECT_MS = 30_000;

export class ContainerFleet {
  private readonly network = `flowtag-test-${randomUUID()}`;
  private readonly servers: readonly Server[];
  private readonly keys: Keys;
  /** On this machine. Fixed: after a restart, Docker would choose others. */
  private readonly ports = new Map<Part, number>();
  private readonly containers = new Map<Part, StartedTestContainer>();

  /** With one NATS server, or three that keep each stream together. `hosts` may publish. */
  static async start(serverCount: 1 | 3, hosts: readonly string[]): Promise<ContainerFleet> {
    const servers = Array.from({ length: serverCount }, (_, n): Server => `nats-${n}`);
    const services = Object.values(ROLES).map((role) => [role, role] as const);
    const identities = [...services, ...hosts.map((host) => ['capture', host] as const)];
    const keys = await Keys.make(servers, identities);
    const fleet = new ContainerFleet(servers, keys);
    await docker('network', 'create', '--opt', LOOPBACK_ONLY, fleet.network);
    try {
      await fleet.startParts();
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  private constructor(servers: readonly Server[], keys: Keys) {
    this.servers = servers;
    this.keys = keys;
  }

  place(part: Part): Place {
    return { id: this.containers.get(part)!.getId(), network: this.network, alias: part };
  }

  /** From outside of the containers. */
  connect(role: BusRole, name: string): Promise<Bus> {
    const server = this.servers.map((part) => `tls://127.0.0.1:${this.ports.get(part)}`).join(',');
    const signal = AbortSignal.timeout(CONNECT_MS);
    return connectBus({ server, ...this.keys.access(role, name), name, signal, log: quiet });
  }

  /** Asks the servers themselves. */
  async leaderOf(stream: string): Promise<Server> {
    const bus = await this.connect('admin', 'admin');
    const { data } = await bus.request(`$JS.API.STREAM.INFO.${stream}`, '', Buffer.of(), 4_000);
    await bus.close();
    return JSON.parse(Buffer.from(data).toString()).cluster.leader;
  }

  /** Asks the store itself. */
  async query(sql: string): Promise<unknown[][]> {
    const headers = { 'X-ClickHouse-User': 'flowtag', 'X-ClickHouse-Key': STORE_PASSWORD };
    const body = `${sql} FORMAT JSONCompactEachRow`;
    const url = `http://127.0.0.1:${this.ports.get('store')}`;
    const response = await fetch(url, { method: 'POST', body, headers });
    const text = await response.text();
    if (!response.ok) throw new Error(`the store answered ${response.status}: ${text}`);
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async logs(): Promise<string> {
    const logs = [...this.containers].map(
      async ([part, container]) => `--- ${part}\n${await shell(`docker logs ${container.getId()} 2>&1`)}`,
    );
    return (await Promise.all(logs)).join('\n');
  }

  async stop(): Promise<void> {
    const mine = `docker ps --all --quiet --filter label=${this.network}`;
    await shell(`${mine} | xargs --no-run-if-empty docker rm --force --volumes`);
    await docker('network', 'rm', this.network);
    this.keys.remove();
  }

  private async startParts(): Promise<void> {
    const { servers, keys } = this;
    await Promise.all([
      ...servers.map((server) => this.run(server, natsContainer(server, servers, keys), PORTS.nats)),
      this.run('store', storeContainer(), PORTS.store),
    ]);
    await this.provision();
    await Promise.all([this.service('correlator'), this.service('sink')]);
  }

  /** Until the servers of a cluster have found each other they refuse it. */
  private async provision(attempts = 10): Promise<void> {
    await this.service('provision').catch((error) => {
      if (attempts === 1) throw error;
      return this.provision(attempts - 1);
    });
  }

  private service(name: Service): Promise<void> {
    return this.run(name, serviceContainer(name, this.servers, this.keys));
  }

  private async run(part: Part, container: PartContainer, port?: number): Promise<void> {
    if (port !== undefined) {
      const host = await freePort();
      this.ports.set(part, host);
      container.withExposedPorts({ container: port, host });
    }
    container.at(this.network, part).withLabels({ [this.network]: part });
    this.containers.set(part, await container.start());
  }
}
