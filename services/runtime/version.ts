// The version in package.json, found from the sources as well as from dist/.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const VERSION = readVersion(import.meta.dirname);

function readVersion(from: string): string {
  const file = join(from, 'package.json');
  if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  const parent = dirname(from);
  if (parent === from)
    throw new Error(`no package.json above ${import.meta.dirname}: the installation is incomplete`);
  return readVersion(parent);
}
