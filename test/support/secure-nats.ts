// A nats-server as infra/nats sets it up: TLS with a certificate made by make-tls.sh, identities made by `flowtag
// enroll`, on loopback, in a directory of its own.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BusRole } from '../../schemas/permissions.ts';
import { SERVER_CONFIG } from '../../services/cli/enrolled-dir.ts';
import { findNatsServer } from '../../services/cli/installation.ts';
import { runCommandLine } from '../../services/cli/main.ts';
import { createKey } from '../../services/runtime/bus.ts';
import { formatCredential } from '../../services/runtime/credential.ts';
import { endChild } from './end-child.ts';
import { freePort } from './nats-server.ts';

const INFRA = join(import.meta.dirname, '../../infra/nats');
const START_MS = 15_000;

export class SecureNats {
  readonly dir = mkdtempSync(join(tmpdir(), 'flowtag-secure-'));
  readonly tlsCa = join(this.dir, 'tls/ca.pem');
  port = 0;
  private child: ChildProcess | undefined;
  private output = '';

  static async start(identities: readonly (readonly [BusRole, string])[]): Promise<SecureNats> {
    const nats = new SecureNats();
    await fillServerDirectory(nats.dir, identities);
    nats.port = await freePort();
    await nats.launch();
    return nats;
  }

  get url(): string {
    return `tls://127.0.0.1:${this.port}`;
  }

  /** What the server wrote; with traces of the protocol. */
  get log(): string {
    return this.output;
  }

  creds(role: BusRole, token: string): string {
    return join(this.dir, `${role}.${token}.creds`);
  }

  enroll(...args: readonly string[]): Promise<string> {
    return enrollIn(this.dir, ...args);
  }

  /** As the operator does it after enroll: SIGHUP. */
  async reload(): Promise<void> {
    const before = this.output.split('Reloaded server configuration').length;
    this.child!.kill('SIGHUP');
    await this.says(() => this.output.split('Reloaded server configuration').length > before);
  }

  async stop(): Promise<void> {
    if (this.child) await endChild(this.child, 5_000);
    rmSync(this.dir, { recursive: true, force: true });
  }

  private async launch(): Promise<void> {
    const args = ['-c', 'nats.conf', '-a', '127.0.0.1', '-p', String(this.port), '-V'];
    const command = ['--pdeathsig', 'KILL', findNatsServer(), ...args];
    const child = spawn('setpriv', command, { cwd: this.dir, stdio: ['ignore', 'ignore', 'pipe'] });
    this.child = child;
    child.stderr!.on('data', (chunk: Buffer) => {
      this.output = (this.output + chunk).slice(-50_000_000);
    });
    child.once('exit', () => {
      this.output += '\nexited';
    });
    await this.says(() => this.output.includes('Server is ready'));
  }

  private async says(holds: () => boolean): Promise<void> {
    for (const deadline = performance.now() + START_MS; !holds(); await sleep(20))
      if (performance.now() > deadline || this.output.endsWith('exited'))
        throw new Error(`nats-server did not come up:\n${this.output.slice(-4_000)}`);
  }
}

/** What infra/nats/README.md has in a server's directory. `names`: of the server, beside those of loopback. */
export async function fillServerDirectory(
  dir: string,
  identities: readonly (readonly [BusRole, string])[],
  ...names: readonly string[]
): Promise<void> {
  copyFileSync(join(INFRA, 'nats.conf'), join(dir, 'nats.conf'));
  makeTls(join(dir, 'tls'), ...names);
  for (const [role, name] of identities) await enrollIn(dir, '--role', role, name);
}

export async function enrollIn(dir: string, ...args: readonly string[]): Promise<string> {
  let said = '';
  const write = (chunk: Buffer, _: string, done: () => void): void => {
    said += chunk;
    done();
  };
  const terminal = { stdout: new Writable({ write }), stderr: new Writable({ write }) };
  const code = await runCommandLine(['enroll', '--dir', dir, ...args], terminal, () => {
    throw new Error('enroll waits for nothing');
  });
  if (code !== 0) throw new Error(`enroll ${args.join(' ')}: exit code ${code}: ${said}`);
  return said;
}

/**
 * Until the next `enroll`: one that may do everything in the services' account, which no role may. The file of its
 * credential.
 */
export function addRoot(dir: string): string {
  const { seed, publicKey } = createKey();
  const file = join(dir, 'root.creds');
  writeFileSync(file, formatCredential({ role: 'admin', name: 'root', seed }), { mode: 0o600 });
  const users = join(dir, SERVER_CONFIG);
  const text = readFileSync(users, 'utf8').replace('users: [', `users: [\n      { nkey: ${publicKey} }`);
  writeFileSync(users, text);
  return file;
}

/** An authority, and a certificate of a server that is on loopback and may have other names, too. */
export function makeTls(dir: string, ...names: readonly string[]): void {
  execFileSync(join(INFRA, 'make-tls.sh'), [dir, '127.0.0.1', 'localhost', ...names]);
}
