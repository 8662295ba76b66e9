// A process of the rig: dies with the test, is ended by its own pid, and keeps the end of what it said.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const SAID_BYTES = 50_000;

export class Program {
  readonly name: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private readonly closed: Promise<unknown>;
  private said = '';

  constructor(name: string, command: readonly string[]) {
    this.name = name;
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, ...command], {
      stdio: 'pipe',
    });
    this.closed = once(this.child, 'close');
    this.child.stdin!.on('error', () => undefined); // it may have been killed
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.child.stderr!.on('data', (chunk) => {
      this.said = (this.said + chunk).slice(-SAID_BYTES);
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Exit code or name of the signal; undefined while it runs. */
  get ended(): number | string | undefined {
    return this.child.exitCode ?? this.child.signalCode ?? undefined;
  }

  /** On stderr, the end of it. */
  get log(): string {
    return this.said;
  }

  /** Writes a line to its stdin and gives the next line of its stdout. */
  ask(line: string): Promise<string> {
    this.child.stdin!.write(`${line}\n`);
    return this.nextLine();
  }

  async nextLine(): Promise<string> {
    const { value, done } = await this.lines.next();
    if (done) {
      await this.closed;
      throw new Error(`${this.name} ended ${this.ended}:\n${this.said}`);
    }
    return value;
  }

  async end(signal: NodeJS.Signals): Promise<number | string> {
    if (this.ended === undefined) {
      const exited = once(this.child, 'exit');
      this.child.kill(signal);
      await exited;
    }
    return this.ended!;
  }
}

/** Most memory that a program which still runs has had resident at once. */
export function peakMiB({ pid }: Program): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Math.round(Number(kib) / 1_024);
}
