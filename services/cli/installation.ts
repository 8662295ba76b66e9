// The programs that this copy of flowtag starts.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { FlowtagError } from '../runtime/errors.ts';
import { INSTALL_ROOT } from '../runtime/install-root.ts';

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
