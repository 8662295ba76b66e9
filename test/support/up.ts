// `flowtag up` as a user runs it: the built program in a process of its own, on a data directory of its own.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const FLOWTAG = resolve('bin/flowtag.js');
const READY_MS = 60_000;

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type FlowJson = Record<string, string | number>;

export class Up {
  readonly dataDir: string;
  stdout = '';
  stderr = '';
  private readonly child: ChildProcess;

  /** Waits until `up` says that it is ready. */
  static async start(args: readonly string[]): Promise<Up> {
    const up = new Up(await mkdtemp(join(tmpdir(), 'flowtag-e2e-')), args);
    const deadline = performance.now() + READY_MS;
    while (!up.stderr.includes('ready after')) {
      if (up.child.exitCode !== null || performance.now() > deadline) {
        await up.stop();
        throw new Error(`flowtag up is not ready:\n${up.stderr}`);
      }
      await sleep(50);
    }
    return up;
  }

  private constructor(dataDir: string, args: readonly string[]) {
    this.dataDir = dataDir;
    const command = [FLOWTAG, 'up', '--data-dir', dataDir, '-o', 'json', ...args];
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout!.on('data', (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr!.on('data', (chunk) => {
      this.stderr += chunk;
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Flows printed so far. */
  get flows(): FlowJson[] {
    return jsonLines(this.stdout);
  }

  /** Another verb on the same data directory. */
  run(...args: string[]): Promise<Result> {
    return flowtag(...args, '--data-dir', this.dataDir);
  }

  /** All stored flows. */
  async stored(): Promise<FlowJson[]> {
    return jsonLines((await this.run('observe', '--last', '10000', '-o', 'json')).stdout);
  }

  /** Stored flows once `enough` holds for them, or after 30 s those that there are. */
  async storedUntil(enough: (flows: FlowJson[]) => boolean): Promise<FlowJson[]> {
    const deadline = performance.now() + 30_000;
    for (;;) {
      const flows = await this.stored();
      if (enough(flows) || performance.now() > deadline) return flows;
      await sleep(500);
    }
  }

  /** The pid of one of its services, or of its nats-server, now. */
  async pidOf(role: string): Promise<number> {
    const mark = role === 'nats-server' ? role : `flowtag.js ${role} `;
    const found = (await processesWith(this.dataDir)).find(({ command }) => command.includes(mark));
    if (!found) throw new Error(`no ${role} runs`);
    return found.pid;
  }

  /** Ends it as Ctrl-C does; the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill(signal);
      await exited;
    }
    await rm(this.dataDir, { recursive: true, force: true });
    return this.child.exitCode;
  }

  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
    return this.child.exitCode;
  }
}

export function flowtag(...args: string[]): Promise<Result> {
  return new Promise((done) => {
    execFile(
      process.execPath,
      [FLOWTAG, ...args],
      { timeout: 60_000, maxBuffer: 64 << 20 },
      (error, stdout, stderr) =>
        done({ code: error ? ((error.code as unknown as number) ?? -1) : 0, stdout, stderr }),
    );
  });
}

export function jsonLines(text: string): FlowJson[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FlowJson);
}

/** `address:port` of the flow's own end, as the peer's log writes it. */
export function localEnd(flow: FlowJson): string {
  const address = String(flow['network.local.address']);
  return `${address.includes(':') ? `[${address}]` : address}:${flow['network.local.port']}`;
}

/** Processes whose command line mentions `text`. */
export async function processesWith(text: string): Promise<{ pid: number; command: string }[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const all = await Promise.all(
    pids.map(async (pid) => ({
      pid: Number(pid),
      command: (await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')).replaceAll('\0', ' '),
    })),
  );
  return all.filter(({ command }) => command.includes(text));
}
