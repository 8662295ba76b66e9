// Where this copy of flowtag is: the sources and their compiled copy in dist/ are at different depths below it.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder of package.json. */
export const INSTALL_ROOT = findRoot(import.meta.dirname);

function findRoot(from: string): string {
  if (existsSync(join(from, 'package.json'))) return from;
  const parent = dirname(from);
  if (parent === from)
    throw new Error(`no package.json above ${import.meta.dirname}: the installation is incomplete`);
  return findRoot(parent);
}
