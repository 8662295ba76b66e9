// NATS, the store and the services, each in a container of its own, from the images that are shipped.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { docker } from '../../support/docker.ts';
import { freePort } from '../../support/nats-server.ts';

const PASSWORD = 'of a test';
const PASSWORD_FILE = '/run/flowtag/store-password';
const STORE_LOGIN = ['--user', 'flowtag', '--password-file', PASSWORD_FILE];
/** Published ports of a network are on all addresses of the machine, where it does not say otherwise. */
const LOOPBACK_ONLY = 'com.docker.network.bridge.host_binding_ipv4=127.0.0.1';
const AWAY_MS = 2_000;

export type Part = 'nats' | 'store' | 'correlator' | 'sink';

export class ContainerFleet {
  readonly server: string;
  private readonly network = `flowtag-test-${randomUUID()}`;
  private readonly ports: { readonly nats: number; readonly store: number };
  private readonly parts = new Map<Part, StartedTestContainer>();

  static async start(): Promise<ContainerFleet> {
    const ports = { nats: await freePort(), store: await freePort() };
    const fleet = new ContainerFleet(ports);
    await docker('network', 'create', '--opt', LOOPBACK_ONLY, fleet.network);
    try {
      await fleet.startParts();
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  private constructor(ports: { readonly nats: number; readonly store: number }) {
    this.ports = ports;
    this.server = `nats://127.0.0.1:${ports.nats}`;
  }

  /** As a crash of its machine, which comes back. */
  async kill(part: Part): Promise<void> {
    await docker('kill', '--signal', 'KILL', this.idOf(part));
    await sleep(AWAY_MS);
    await docker('start', this.idOf(part));
  }

  /** It is there and does nothing, for a while. */
  async freeze(part: Part): Promise<void> {
    await docker('pause', this.idOf(part));
    await sleep(AWAY_MS);
    await docker('unpause', this.idOf(part));
  }

  /** Its network cable is pulled, and put back. */
  async unplug(part: Part): Promise<void> {
    await docker('network', 'disconnect', this.network, this.idOf(part));
    await sleep(AWAY_MS);
    await docker('network', 'connect', '--alias', part, this.network, this.idOf(part));
  }

  /** How its main process ended after SIGTERM. */
  async terminate(part: Part): Promise<number> {
    await docker('kill', '--signal', 'TERM', this.idOf(part));
    return Number(await docker('wait', this.idOf(part)));
  }

  /** Asks the store itself. */
  async query(sql: string): Promise<unknown[][]> {
    const headers = { 'X-ClickHouse-User': 'flowtag', 'X-ClickHouse-Key': PASSWORD };
    const body = `${sql} FORMAT JSONCompactEachRow`;
    const response = await fetch(`http://127.0.0.1:${this.ports.store}`, { method: 'POST', body, headers });
    const text = await response.text();
    if (!response.ok) throw new Error(`the store answered ${response.status}: ${text}`);
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async logs(): Promise<string> {
    const ids = [...this.parts].map(
      async ([part, { getId }]) => `--- ${part}\n${await docker('logs', getId())}`,
    );
    return (await Promise.all(ids)).join('\n');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.parts.values()].map((part) => part.stop({ timeout: 0 })));
    await docker('network', 'rm', this.network);
  }

  private async startParts(): Promise<void> {
    await Promise.all([
      this.run('nats', 'nats:2.10-alpine', ['--jetstream'], 4222, /Server is ready/),
      this.run(
        'store',
        'flowtag-store',
        ['store', '--listen', '0.0.0.0:8123', ...STORE_LOGIN.slice(2)],
        8123,
        /store open/,
      ),
    ]);
    const server = ['--server', 'nats://nats:4222'];
    await Promise.all([
      this.run('correlator', 'flowtag', ['correlator', ...server]),
      this.run('sink', 'flowtag', ['sink', ...server, '--store', 'http://store:8123', ...STORE_LOGIN]),
    ]);
  }

  /** Published ports are fixed: after a restart, Docker would choose others. */
  private async run(
    part: Part,
    image: string,
    command: string[],
    port?: number,
    ready = /starting/,
  ): Promise<void> {
    const container = new GenericContainer(image)
      .withNetworkMode(this.network)
      .withNetworkAliases(part)
      .withCommand(command)
      .withCopyContentToContainer([{ content: PASSWORD, target: PASSWORD_FILE, mode: 0o644 }])
      .withWaitStrategy(Wait.forLogMessage(ready));
    if (port !== undefined)
      container.withExposedPorts({ container: port, host: this.ports[part as 'nats' | 'store'] });
    this.parts.set(part, await container.start());
  }

  private idOf(part: Part): string {
    return this.parts.get(part)!.getId();
  }
}
