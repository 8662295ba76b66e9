// A hub and a site's server as infra/nats/leaf-node has them, on loopback, with a link between them that can be cut.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findNatsServer } from '../../../services/cli/installation.ts';
import { type Bus, connectBus } from '../../../services/runtime/bus.ts';
import { endChild } from '../../support/end-child.ts';
import { type Link, openLink } from '../../support/link.ts';
import { freePort } from '../../support/nats-server.ts';
import { addRoot, enrollIn, makeTls } from '../../support/secure-nats.ts';
import { quiet, until } from '../runtime/support.ts';

const INFRA = join(import.meta.dirname, '../../../infra/nats');
const SERVICES = join(import.meta.dirname, '../../security/flowtag.ts');

export type Place = 'hub' | 'site';
/** Lines of a configuration, and what stands in their place. */
export type Changes = Readonly<Record<string, string>>;

export class Sites {
  link!: Link;
  readonly log = { hub: '', site: '' };
  private readonly dir = mkdtempSync(join(tmpdir(), 'flowtag-leaf-'));
  private readonly ports = { hub: 0, site: 0 };
  private readonly children: ChildProcess[] = [];
  private readonly buses: Bus[] = [];

  /** The hub knows `site-a`; the site has a certificate for `certificate` and says that it is `user`. */
  static async open({ certificate = 'site-a', user = '', changes = {} as Changes } = {}): Promise<Sites> {
    const sites = new Sites();
    const leafPort = await freePort();
    for (const place of ['hub', 'site'] as const) {
      makeTls(sites.path(place, 'tls'));
      await enrollIn(sites.path(place), '--role', 'admin', 'ops');
    }
    await enrollIn(sites.path('hub'), '--role', 'viewer', 'alice');
    await enrollIn(sites.path('hub'), '--role', 'site', 'site-a');
    await enrollIn(sites.path('site'), 'h');
    for (const place of ['hub', 'site'] as const) addRoot(sites.path(place));
    execFileSync(join(INFRA, 'make-tls.sh'), ['--site', sites.path('hub', 'tls'), certificate]);
    mkdirSync(sites.path('site', 'hub-tls'));
    for (const file of ['site.pem', 'site.key'])
      renameSync(sites.path('hub', 'tls', file), sites.path('site', 'hub-tls', file));
    writeFileSync(sites.path('site', 'hub-tls/ca.pem'), readFileSync(sites.path('hub', 'tls/ca.pem')));
    await sites.start('hub', '', { 'listen: 0.0.0.0:7422': `listen: 127.0.0.1:${leafPort}` });
    sites.link = await openLink(leafPort);
    await sites.start('site', `tls://${user}127.0.0.1:${sites.link.port}`, changes);
    return sites;
  }

  async connect(place: Place, identity: string): Promise<Bus> {
    const bus = await connectBus({
      server: this.url(place),
      ...this.access(place, identity),
      name: place,
      log: quiet,
    });
    this.buses.push(bus);
    return bus;
  }

  /** As infra/nats/leaf-node/README.md has it. */
  async provision(place: Place, ...more: readonly string[]): Promise<void> {
    const { creds, tlsCa } = this.access(place, 'admin.ops');
    const access = ['--server', this.url(place), '--creds', creds, '--tls-ca', tlsCa];
    await promisify(execFile)(process.execPath, [
      '--import',
      'tsx',
      SERVICES,
      'provision',
      ...access,
      ...more,
    ]);
  }

  async close(): Promise<void> {
    await Promise.all(this.buses.map((bus) => bus.close()));
    await Promise.all(this.children.map((child) => endChild(child, 10_000)));
    this.link?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private path(place: Place, ...more: readonly string[]): string {
    return join(this.dir, place, ...more);
  }

  url(place: Place): string {
    return `tls://127.0.0.1:${this.ports[place]}`;
  }

  access(place: Place, identity: string): { creds: string; tlsCa: string } {
    return { creds: this.path(place, `${identity}.creds`), tlsCa: this.path(place, 'tls/ca.pem') };
  }

  /** The file as it stands, with ports and addresses of the test's own. */
  private async start(place: Place, hub: string, changes: Changes): Promise<void> {
    const port = await freePort();
    this.ports[place] = port;
    let text = readFileSync(join(INFRA, 'leaf-node', `${place}.conf`), 'utf8');
    for (const [from, to] of Object.entries({ ...changes, '0.0.0.0:4222': `127.0.0.1:${port}` })) {
      if (!text.includes(from)) throw new Error(`${place}.conf has no ${from}`);
      text = text.replace(from, to);
    }
    writeFileSync(this.path(place, 'nats.conf'), text);
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', findNatsServer(), '-c', 'nats.conf', '-D'], {
      cwd: this.path(place),
      env: { ...process.env, FLOWTAG_HUB: hub },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.children.push(child);
    child.stderr!.on('data', (chunk: Buffer) => {
      this.log[place] = (this.log[place] + chunk).slice(-100_000);
    });
    await until(`${place} is ready`, () => this.log[place].includes('Server is ready'));
  }
}
