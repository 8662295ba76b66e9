// The version in package.json.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { INSTALL_ROOT } from './install-root.ts';

export const VERSION = readVersion(join(INSTALL_ROOT, 'package.json'));

function readVersion(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
