#!/usr/bin/env node
// Composition root: the first word picks the service, everything else is the command line's (services/cli).
// Services never import each other; this is the only file that knows where each of them starts.
import { existsSync } from 'node:fs';

const SERVICES = {
  capture: 'capture/main.js',
  correlator: 'correlator/main.js',
  provision: 'correlator/provision.js',
  sink: 'sink/main.js',
  store: 'sink/embedded/main.js',
  'check-host': 'capture/check.js',
};

const argv = process.argv.slice(2);
const isService = Object.hasOwn(SERVICES, argv[0] ?? '');
const entry = new URL(`../dist/services/${isService ? SERVICES[argv[0]] : 'cli/main.js'}`, import.meta.url);

if (existsSync(entry)) {
  process.setSourceMapsEnabled(true);
  const { main } = await import(entry.href);
  // exit, not exitCode: main has stopped in order, and a handle it forgot must not keep the process alive.
  // What main wrote it has flushed: a pipe takes 64 KiB at once, and what is beyond would be cut here.
  process.exit(await main(isService ? argv.slice(1) : argv));
} else {
  process.stderr.write(`flowtag: not built (${entry.pathname} is missing); run: npm run build\n`);
  process.exit(2);
}
