// The demo target: a Go server whose handlers call a downstream HTTP server, and the requests that show it off.
import { existsSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { FlowtagError } from '../runtime/errors.ts';
import { INSTALL_ROOT } from '../runtime/install-root.ts';
import type { ProcessTree } from './process-tree.ts';

/** Children that are part of the show: nothing fails when they end. */
export const DEMO_NAMES: ReadonlySet<string> = new Set(['demo', 'downstream']);
export const DEMO_BINARY = join(INSTALL_ROOT, 'build/targets/demo');
const DOWNSTREAM_BINARY = join(INSTALL_ROOT, 'build/targets/downstream');

/** Resolves to the URL of the demo server, which calls the downstream server for every request. */
export async function startDemo(tree: ProcessTree, logFolder: string): Promise<string> {
  for (const file of [DEMO_BINARY, DOWNSTREAM_BINARY])
    if (!existsSync(file)) throw new FlowtagError('DEMO_MISSING', `${file} is missing; run: npm run build`);
  const requestLog = join(logFolder, 'downstream-requests.jsonl');
  rmSync(requestLog, { force: true });
  const common = ['-listen', '127.0.0.1:0', '-exit-on-stdin-close'];
  const downstream = await startServer(tree, 'downstream', DOWNSTREAM_BINARY, [
    ...common,
    '-log',
    requestLog,
  ]);
  return startServer(tree, 'demo', DEMO_BINARY, [...common, '-downstream', downstream]);
}

const START_MS = 10_000;
const FIRST_ATTEMPTS = 10;
const FIRST_WAIT_MS = 1_000;
const PAUSE_MS = 200;
const TOUR = [
  '/echo?text=hello',
  '/echo/second',
  '/work/waits-before-it-dials',
  '/nested/three-goroutines-deep',
];

/** A first request until its flow is seen (probes may have been attached this moment), then one of each kind. */
export async function driveDemo(url: string, flowSeen: () => boolean, end: AbortSignal): Promise<void> {
  for (let attempt = 1; attempt <= FIRST_ATTEMPTS && !flowSeen() && !end.aborted; attempt++) {
    await request(`${url}/echo/first`, end);
    await waitUntil(flowSeen, FIRST_WAIT_MS, end);
  }
  for (const path of TOUR) {
    if (end.aborted) return;
    await request(url + path, end);
    await sleep(PAUSE_MS, undefined, { signal: end }).catch(() => undefined);
  }
}

const ready = z.object({ listen: z.string() });

/** Both servers say on their first line where they listen. */
async function startServer(
  tree: ProcessTree,
  name: string,
  file: string,
  args: readonly string[],
): Promise<string> {
  const child = tree.start({ name, command: { file, args }, restart: false });
  const line = await Promise.race([child.firstLine, sleep(START_MS, undefined, { ref: false })]);
  try {
    return `http://${ready.parse(JSON.parse(line ?? '')).listen}`;
  } catch (cause) {
    const said = line === undefined ? 'nothing' : `"${line}"`;
    throw new FlowtagError('DEMO_FAILED', `${file} should say where it listens, but said ${said}`, { cause });
  }
}

/** A failed request shows as a missing flow; there is nothing to add. */
function request(url: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const call = get(url, { agent: false, signal, timeout: 5_000 }, (response) => {
      response.resume();
      response.once('close', resolve);
    });
    call.once('timeout', () => call.destroy());
    call.once('error', () => resolve());
  });
}

async function waitUntil(met: () => boolean, timeoutMs: number, end: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!met() && !end.aborted && performance.now() < deadlineMs) await sleep(20);
}
