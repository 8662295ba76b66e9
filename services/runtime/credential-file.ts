// A credential as it lies on disk: readable to its owner alone, or refused.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { type Credential, parseCredential } from './credential.ts';
import { ConfigError } from './errors.ts';

const OF_OTHERS = 0o077;

/** Throws ConfigError CREDENTIAL with the cure. */
export function readCredential(file: string): Credential {
  const parsed = parseCredential(readPrivate(file));
  if (typeof parsed !== 'string') return parsed;
  throw new ConfigError(
    'CREDENTIAL',
    `${file} is no flowtag credential: ${parsed}; make one: flowtag enroll`,
  );
}

/** The server takes a host's events under its own name only, and what it refuses nobody would see here. */
export function requireHost(file: string, host: string): void {
  const { role, name } = readCredential(file);
  if (role === 'capture' && name === host) return;
  const who = role === 'capture' ? `host ${JSON.stringify(name)}` : `a ${role}`;
  throw new ConfigError(
    'CREDENTIAL',
    `${file} is of ${who}, but this is capture on host ${JSON.stringify(host)}: give --host that name, or make a credential: flowtag enroll HOST`,
  );
}

/** Mode and text of one and the same file, also when the name is given to another one meanwhile. */
function readPrivate(file: string): string {
  try {
    const fd = openSync(file, 'r');
    try {
      const { mode } = fstatSync(fd);
      if ((mode & OF_OTHERS) === 0) return readFileSync(fd, 'utf8');
      const shown = (mode & 0o777).toString(8).padStart(4, '0');
      throw new ConfigError(
        'CREDENTIAL',
        `${file} is open to others than its owner (mode ${shown}): run chmod 600 ${file}, and if they may have read it: flowtag enroll --rotate`,
      );
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    throw new ConfigError('CREDENTIAL', `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
