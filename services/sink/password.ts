// The password of a store, out of a file: neither arguments nor the environment of a process are secret.
import { readFileSync } from 'node:fs';
import { ConfigError } from '../runtime/errors.ts';

/** '' when no file is named. */
export function readPassword(file: string | undefined): string {
  if (file === undefined) return '';
  try {
    return readFileSync(file, 'utf8').trimEnd();
  } catch (cause) {
    throw new ConfigError('CONFIG', `--password-file: ${(cause as Error).message}`, { cause });
  }
}
