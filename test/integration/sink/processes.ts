// Sink and store as processes of their own, from the sources, as their tests need them.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningStore, readStoreAddress } from '../../../services/sink/embedded/store-address.ts';

const ENTRY = join(import.meta.dirname, 'flowtag.ts');

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What it wrote to stderr so far. */
  log(): string;
  /** Exit code, or name of the signal. */
  end(signal: NodeJS.Signals): Promise<number | string>;
}

export function run(
  verb: 'sink' | 'store',
  args: readonly string[],
  nodeArgs: readonly string[] = [],
): Running {
  const command = [process.execPath, '--import', 'tsx', ...nodeArgs, ENTRY, verb, ...args];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: join(import.meta.dirname, '../../..'),
    // A process group of its own, as a terminal gives it.
    detached: true,
  });
  let output = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    output = (output + chunk).slice(-50_000);
  });
  return {
    child,
    pid: child.pid!,
    log: () => output,
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill(signal);
        await exited;
      }
      return child.exitCode ?? child.signalCode!;
    },
  };
}

export function temporaryDir(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'flowtag-sink-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export async function startStore(dataDir: string): Promise<Running & { readonly address: RunningStore }> {
  const running = run('store', ['--data-dir', dataDir]);
  const address = await storeAddress(dataDir, running);
  return { ...running, address };
}

export function storeAddress(dataDir: string, running?: Running): Promise<RunningStore> {
  return until('the store to open', () => {
    if (running && running.child.exitCode !== null) throw new Error(`store ended:\n${running.log()}`);
    const address = readStoreAddress(join(dataDir, 'store/endpoint.json'));
    return running && address?.pid !== running.pid ? undefined : address;
  });
}

/** The first value that is not undefined or false. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}
