// Exit 0 when node_modules holds what package-lock.json says, 1 when `npm ci` is needed. npm writes the record
// node_modules/.package-lock.json at the end of an installation, so an interrupted one counts as missing.
import { readFileSync } from 'node:fs';

process.exit(isInstalled() ? 0 : 1);

function isInstalled() {
  const wanted = packagesOf('package-lock.json');
  const present = packagesOf('node_modules/.package-lock.json');
  if (wanted === undefined || present === undefined) return false;
  delete wanted['']; // the project itself
  // Optional packages of other platforms are in the lock but never installed.
  const complete = Object.entries(wanted).every(([path, { version, optional, devOptional }]) =>
    present[path] === undefined ? optional || devOptional : present[path].version === version,
  );
  return complete && Object.keys(present).every((path) => wanted[path] !== undefined);
}

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
