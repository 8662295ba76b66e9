// The directory of enrolled identities: the roster, and the file for nats-server. One writer at a time, each file whole
// or not at all.
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKey } from '../runtime/bus.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { type Roster, roster, serverConfig } from './enrolled.ts';

const ROSTER = 'identities.json';
export const SERVER_CONFIG = 'flowtag-users.conf';

/** Undefined when nobody is enrolled there. */
export function readRoster(dir: string): Roster | undefined {
  const file = join(dir, ROSTER);
  try {
    return roster.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FlowtagError('ENROLLED', `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Path of the server's file. `change` may throw: then nothing is written. */
export function changeRoster(dir: string, change: (before: Roster) => Roster): string {
  mkdirSync(dir, { recursive: true });
  const lock = join(dir, 'lock');
  claim(lock);
  try {
    const after = change(
      readRoster(dir) ?? {
        v: 1,
        nobody: createKey().publicKey,
        identities: [],
        sites: [],
      },
    );
    replace(join(dir, ROSTER), `${JSON.stringify(after, null, 2)}\n`);
    replace(join(dir, SERVER_CONFIG), serverConfig(after));
    return join(dir, SERVER_CONFIG);
  } finally {
    rmSync(lock, { force: true });
  }
}

function claim(lock: string): void {
  try {
    closeSync(openSync(lock, 'wx'));
  } catch (cause) {
    const who = 'another flowtag enroll is at work, or one was killed: then remove that file';
    throw new FlowtagError('ENROLLED', `${lock}: ${who} (${(cause as Error).message})`, { cause });
  }
}

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}
