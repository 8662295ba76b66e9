// A fleet on one machine, every part of it a process of its own as it runs in production: NATS, correlators, sinks, the
// store behind its HTTP front, and hosts that publish as capture does. Whoever is killed is started again by the row
// that killed it, as systemd would.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LedgerAnswer } from '../../schemas/ledger.ts';
import { readLedger } from '../../services/cli/flow-api.ts';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { startNatsCluster } from '../support/nats-cluster.ts';
import { freePort, type NatsServer, startNatsServer } from '../support/nats-server.ts';
import type { HostEnd, HostOptions } from './host.ts';
import { Program } from './program.ts';

const FLOWTAG = resolve('bin/flowtag.js');
const SIMULATOR = join(import.meta.dirname, 'host.ts');
const PASSWORD = 'of a test';
/** What a sink logs when its turn comes. */
const WRITES = 'reading the stream of flows';
const READY_MS = 60_000;

export type Role = 'correlator' | 'sink' | 'store';

/** A simulated host that is under load. */
export interface Host {
  readonly options: HostOptions;
  readonly program: Program;
}

export interface RigOptions {
  /** Ready to begin at once. */
  readonly hosts: number;
  /** Three NATS servers that keep every stream three times, instead of one. */
  readonly cluster?: boolean;
}

/** More than one, so that there is somebody to take over. */
const INSTANCES = { store: 1, correlator: 2, sink: 2 } as const;

export class Rig {
  readonly dir = mkdtempSync(join(tmpdir(), 'flowtag-fleet-'));
  /** By name; the only one, or three. */
  private readonly servers: ReadonlyMap<string, NatsServer>;
  private readonly storePort: number;
  private readonly running = new Map<Role, Program[]>();
  private readonly idle: Program[] = [];
  private readonly simulators: Program[] = [];
  private started = 0;

  /** Everything up, and the store ready for queries. */
  static async open({ hosts, cluster = false }: RigOptions): Promise<Rig> {
    const servers = cluster ? (await startNatsCluster()).servers : new Map([['n0', await startNatsServer()]]);
    const rig = new Rig(servers, await freePort());
    for (const role of ['store', 'correlator', 'sink'] as const)
      for (let n = 0; n < INSTANCES[role]; n++) rig.start(role);
    rig.idle.push(...(await Promise.all(Array.from({ length: hosts }, () => rig.simulator()))));
    await rig.until('the tables of the store', async () => {
      await rig.sql('SELECT count() FROM flows FORMAT TabSeparated');
      await rig.sql('SELECT count() FROM requests FORMAT TabSeparated');
      return true;
    });
    return rig;
  }

  private constructor(servers: ReadonlyMap<string, NatsServer>, storePort: number) {
    this.servers = servers;
    this.storePort = storePort;
    writeFileSync(this.passwordFile, PASSWORD);
  }

  /** The only server, or one of them. */
  get nats(): NatsServer {
    return this.servers.values().next().value!;
  }

  get url(): string {
    return [...this.servers.values()].map(({ url }) => url).join(',');
  }

  /** Asks a sink, as the command line does. */
  async ledger(): Promise<LedgerAnswer[]> {
    const bus = await this.bus();
    try {
      return await readLedger(bus, { v: 1 });
    } finally {
      await bus.close();
    }
  }

  /** The server of the cluster through which all writes to the stream go. */
  async leaderOf(stream: string): Promise<NatsServer> {
    const bus = await this.bus();
    try {
      const { data } = await bus.request(`$JS.API.STREAM.INFO.${stream}`, '', new Uint8Array(), READY_MS);
      const { cluster } = JSON.parse(Buffer.from(data).toString());
      return this.servers.get(cluster.leader)!;
    } finally {
      await bus.close();
    }
  }

  start(role: Role): Program {
    const n = ++this.started;
    const own = ['--host', `${role}-${n}`, '--data-dir', join(this.dir, role)];
    const more = {
      store: ['--listen', `127.0.0.1:${this.storePort}`, '--password-file', this.passwordFile],
      correlator: ['--server', this.url, '--replicas', String(this.servers.size)],
      sink: ['--server', this.url, '--store', this.storeUrl, '--user', 'flowtag'].concat(
        '--password-file',
        this.passwordFile,
      ),
    }[role];
    const program = new Program(`${role}-${n}`, [FLOWTAG, role, ...own, ...more]);
    this.running.set(role, [...this.of(role), program]);
    return program;
  }

  /** Those that run, the oldest first. */
  of(role: Role): Program[] {
    return (this.running.get(role) ?? []).filter(({ ended }) => ended === undefined);
  }

  /** Services that ended although nobody ended them: whoever ends one starts its successor. */
  missing(): number {
    const roles = Object.entries(INSTANCES) as [Role, number][];
    return roles.reduce((sum, [role, count]) => sum + Math.abs(count - this.of(role).length), 0);
  }

  /** kill -9 of one that works (of several sinks one writes, and says so), and its successor after `awayMs`. */
  async kill(role: Role, awayMs = 1_000): Promise<void> {
    const works = ({ log }: Program): boolean => role !== 'sink' || log.includes(WRITES);
    await this.of(role).find(works)!.end('SIGKILL');
    await sleep(awayMs);
    this.start(role);
  }

  startHost(options: Omit<HostOptions, 'dir' | 'run'>): Promise<Host> {
    const dir = join(this.dir, 'hosts', encodeURIComponent(options.host));
    mkdirSync(dir, { recursive: true });
    return this.launch({ ...options, dir, run: 1 });
  }

  /** kill -9 of the host's capture, and its successor after `awayMs`. */
  async killHost({ program, options }: Host, awayMs = 1_000): Promise<Host> {
    await program.end('SIGKILL');
    await sleep(awayMs);
    return this.launch({ ...options, run: options.run + 1 });
  }

  /** Once everything that it published is acknowledged. */
  async endHost({ program }: Host): Promise<HostEnd> {
    const end = JSON.parse(await program.ask('')) as HostEnd;
    this.idle.push(program);
    return end;
  }

  /** Asks the store itself. Rows as arrays of text. */
  async sql(query: string): Promise<string[][]> {
    const headers = { 'X-ClickHouse-User': 'flowtag', 'X-ClickHouse-Key': PASSWORD };
    const ask = (): Promise<Response> => fetch(this.storeUrl, { method: 'POST', body: query, headers });
    const response = await ask().catch(ask); // a connection kept for later may be closed just then
    const text = await response.text();
    if (!response.ok) throw new Error(`the store answered ${response.status}: ${text}`);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  }

  async close(): Promise<void> {
    const all = [...this.running.values(), this.simulators].flat();
    await Promise.all(all.map((program) => program.end('SIGKILL')));
    await Promise.all([...this.servers.values()].map((server) => server.kill9()));
    await Promise.all([...this.servers.values()].map((server) => server.stop()));
    rmSync(this.dir, { recursive: true, force: true });
  }

  private bus(): Promise<Bus> {
    return connectBus({ server: this.url, name: 'rig', log: createLogger('rig', 'silent') });
  }

  private async launch(options: HostOptions): Promise<Host> {
    const program = this.idle.pop() ?? (await this.simulator());
    await program.ask(JSON.stringify(options));
    return { options, program };
  }

  private async simulator(): Promise<Program> {
    const program = new Program(`simulator-${this.simulators.length + 1}`, ['--import', 'tsx', SIMULATOR]);
    this.simulators.push(program);
    await program.nextLine();
    return program;
  }

  private async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + READY_MS;
    for (;;) {
      if (await holds().catch(() => false)) return;
      if (performance.now() > deadline) throw new Error(`not within ${READY_MS} ms: ${what}\n${this.logs()}`);
      await sleep(100);
    }
  }

  /** Of all services, for whoever has to find out why. */
  logs(): string {
    return [...this.running.values()]
      .flat()
      .map(({ name, ended, log }) => `--- ${name} (${ended ?? 'runs'})\n${log}`)
      .join('\n');
  }

  private get storeUrl(): string {
    return `http://127.0.0.1:${this.storePort}`;
  }

  private get passwordFile(): string {
    return join(this.dir, 'password');
  }
}
