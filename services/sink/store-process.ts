// The embedded store as a child of the sink: started, started again when it dies, and gone when the sink is gone.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlowtagError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import { readStoreAddress, type StoreAddress } from './embedded/store-address.ts';

export interface StoreProcess {
  /** Resolves when the child was stopped; rejects when starting it again cannot help. */
  readonly ended: Promise<void>;
  /** Stops the child, by force after a while. */
  stop(): Promise<void>;
}
export interface StoreProcessOptions {
  readonly dataDir: string;
  readonly log: Logger;
  readonly logLevel: string;
  /** A store answers at this address from now on. */
  readonly onOpen: (address: StoreAddress) => Promise<void>;
  /** There is none from now on. */
  readonly onAway: (why: string) => void;
}

const BACK_OFF_MS = { first: 200, most: 5_000 } as const;
const POLL_MS = 25;
const STOP_MS = 4_000;

export function startStoreProcess(options: StoreProcessOptions): StoreProcess {
  return new SupervisedStore(options);
}

class SupervisedStore implements StoreProcess {
  readonly ended: Promise<void>;
  private readonly options: StoreProcessOptions;
  private readonly addressPath: string;
  private readonly stopping = new AbortController();
  private child: ChildProcess | undefined;
  private failures = 0;

  constructor(options: StoreProcessOptions) {
    this.options = options;
    const dir = resolve(options.dataDir, 'store');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.addressPath = join(dir, 'endpoint.json');
    this.ended = this.supervise();
    // Whoever awaits it sees the error; until then it is not an unhandled one.
    this.ended.catch(() => {});
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.child?.kill('SIGTERM');
    // A running query cannot be interrupted, and would hold the process for its whole time.
    const force = setTimeout(() => this.child?.kill('SIGKILL'), STOP_MS);
    await this.ended.catch(() => {});
    clearTimeout(force);
  }

  private async supervise(): Promise<void> {
    const { log, onAway } = this.options;
    while (!this.stopping.signal.aborted) {
      const code = await this.runOnce();
      if (this.stopping.signal.aborted) return;
      onAway(`The embedded store ended (${code}) and is being started again.`);
      if (code === 2 || code === 3)
        throw new FlowtagError(
          'STORE_CANNOT_START',
          'The embedded store cannot run here; its own message says why.',
          { exitCode: code },
        );
      const delayMs = Math.min(BACK_OFF_MS.first * 2 ** this.failures++, BACK_OFF_MS.most);
      log.warn({ code, delayMs }, 'embedded store ended, starting it again');
      await sleep(delayMs, undefined, { signal: this.stopping.signal }).catch(() => {});
    }
  }

  /** Exit code, or the name of the signal, of one child. */
  private async runOnce(): Promise<number | string> {
    const child = await this.spawn();
    if (!child) return 'not started';
    this.child = child;
    // The stop may have come while the child was being started.
    if (this.stopping.signal.aborted) child.kill('SIGTERM');
    const exit = new Promise<number | string>((done) => {
      child.once('exit', (code, signal) => done(code ?? signal ?? 'unknown'));
    });
    const gone = new AbortController();
    exit.finally(() => gone.abort());
    await this.awaitOpen(child.pid!, gone.signal);
    return exit;
  }

  private async awaitOpen(pid: number, gone: AbortSignal): Promise<void> {
    const { log, onOpen } = this.options;
    while (!gone.aborted) {
      const address = readStoreAddress(this.addressPath);
      if (address?.pid === pid) {
        try {
          await onOpen(address);
          this.failures = 0;
          return;
        } catch (error) {
          log.warn({ problem: (error as Error).message }, 'embedded store is not usable yet, trying again');
          await sleep(BACK_OFF_MS.first);
        }
      }
      await sleep(POLL_MS);
    }
  }

  /** With `setpriv` the kernel kills the child when the sink dies, however it dies; without, it outlives a kill -9. */
  private async spawn(): Promise<ChildProcess | undefined> {
    const command = [...process.execArgv, process.argv[1]!, 'store'];
    command.push('--data-dir', this.options.dataDir, '--port-file', this.addressPath);
    command.push('--log-level', this.options.logLevel, '--ops-listen', 'off');
    const bound = ['--pdeathsig', 'KILL', '--', process.execPath, ...command];
    return (await started('setpriv', bound)) ?? (await started(process.execPath, command));
  }
}

/** Undefined when there is no such program. Its messages go where ours go. */
function started(program: string, args: readonly string[]): Promise<ChildProcess | undefined> {
  return new Promise((done) => {
    // A process group of its own: Ctrl-C is for the sink, which still needs the store for what it has read.
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
    child.once('spawn', () => done(child));
    child.once('error', () => done(undefined));
  });
}
