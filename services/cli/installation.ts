// Where this copy of flowtag is, and the programs that it starts.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FlowtagError } from '../runtime/errors.ts';

/** The folder above bin/: the sources and their compiled copy in dist/ are at different depths below it. */
export const INSTALL_ROOT = findRoot(import.meta.dirname);

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** How to run another verb of this same installation. */
export function verbCommand(verb: string, args: readonly string[]): Command {
  return { file: process.execPath, args: [join(INSTALL_ROOT, 'bin/flowtag.js'), verb, ...args] };
}

/** nats-server from PATH, from where Debian puts it, or as the set-up unpacked it. */
export function findNatsServer(): string {
  const unpacked = join(INSTALL_ROOT, 'build/tools/usr/sbin/nats-server');
  const places = ['nats-server', '/usr/sbin/nats-server', unpacked];
  const found = places.find((file) => runs(file, ['--version']));
  if (found) return found;
  throw new FlowtagError(
    'NATS_SERVER_MISSING',
    `nats-server was not found (tried ${places.join(', ')}); run: npm run build`,
  );
}

/**
 * Prefix that has the kernel kill the child when its parent dies, however that dies; empty where there is no
 * setpriv (util-linux) that can.
 */
export function deathSignalPrefix(): readonly string[] {
  const prefix = ['setpriv', '--pdeathsig', 'KILL', '--'];
  return runs('setpriv', [...prefix.slice(1), 'true']) ? prefix : [];
}

function runs(file: string, args: readonly string[]): boolean {
  return spawnSync(file, args, { stdio: 'ignore', timeout: 5000 }).status === 0;
}

function findRoot(from: string): string {
  if (existsSync(join(from, 'bin/flowtag.js'))) return from;
  const parent = dirname(from);
  if (parent === from)
    throw new Error(`no bin/flowtag.js above ${import.meta.dirname}: the installation is incomplete`);
  return findRoot(parent);
}
