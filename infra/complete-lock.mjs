// Run after every `npm install`: a registry that lacks some optional platform packages makes npm write a lock
// that `npm ci` then refuses. This adds the missing optional entries that the lock's own packages name.
import { readFileSync, writeFileSync } from 'node:fs';

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const [OS, CPU] = [/darwin|linux|win32/, /arm64|x64/];
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const at = `node_modules/${name}`;
    if (path === '' || lock.packages[at] || lock.packages[`${path}/${at}`]) continue;
    lock.packages[at] = { version, cpu: CPU.exec(name), os: OS.exec(name), optional: true };
    process.stderr.write(`added ${at}@${version}\n`);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
