// One child process: started, started again when it dies, stopped in order.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Command } from './installation.ts';
import { LineSplitter } from './line-splitter.ts';
import { failuresInRow, restartDelayMs } from './restart-delay.ts';

export interface ChildSpec {
  readonly name: string;
  readonly command: Command;
  /** Start it again when it dies by itself. */
  readonly restart: boolean;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Of a program that could not be started at all. */
  readonly problem?: string;
}

export interface ChildEvents {
  onLine(name: string, line: string): void;
  /** Not called for an exit that `stop` or `kill` asked for. `restartMs`: when it starts again, if it does. */
  onExit(name: string, exit: ChildExit, restartMs: number | undefined): void;
}

/** Usage or configuration, not permitted or unsupported host: the next start would end the same way. */
const HOPELESS = [2, 3];
const STOP_DEADLINE_MS = 12_000;
const LAST_LINES_MS = 1_000;

export class SupervisedChild {
  readonly name: string;
  private readonly spec: ChildSpec;
  private readonly prefix: readonly string[];
  private readonly events: ChildEvents;
  /** The first line on its stdout; undefined when it ended without one. */
  readonly firstLine: Promise<string | undefined>;
  private resolveFirstLine!: (line: string | undefined) => void;
  private process: ChildProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  private failures = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopping = false;

  /** `prefix`: command words in front of the child's own, see deathSignalPrefix. */
  constructor(spec: ChildSpec, prefix: readonly string[], events: ChildEvents) {
    this.name = spec.name;
    this.spec = spec;
    this.prefix = prefix;
    this.events = events;
    this.firstLine = new Promise((resolve) => {
      this.resolveFirstLine = resolve;
    });
    this.start();
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  /** SIGTERM, and SIGKILL after the deadline. Resolves when it is gone; true when it went by itself. */
  async stop(deadlineMs = STOP_DEADLINE_MS): Promise<boolean> {
    this.stopping = true;
    clearTimeout(this.timer);
    if (!this.process) return true;
    let inTime = true;
    this.process.kill('SIGTERM');
    const deadline = setTimeout(() => {
      inTime = false;
      this.kill();
    }, deadlineMs);
    await this.exited;
    clearTimeout(deadline);
    return inTime;
  }

  /** Ends it as a crash would, so that it is started again. */
  restart(): void {
    if (this.process?.pid !== undefined) killGroup(this.process.pid);
  }

  /** At once, and with it everything in its process group. */
  kill(): void {
    this.stopping = true;
    clearTimeout(this.timer);
    if (this.process?.pid !== undefined) killGroup(this.process.pid);
  }

  private start(): void {
    const { file, args } = this.spec.command;
    const [program, ...words] = [...this.prefix, file, ...args];
    const startedMs = performance.now();
    // A session and group of its own: Ctrl-C on the terminal reaches only us, so that the order of stopping is ours.
    const child = spawn(program!, words, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.process = child;
    child.stdin.on('error', () => undefined); // it may end before we do
    this.read(child, 'stdout');
    this.read(child, 'stderr');
    this.exited = new Promise((resolve) => {
      const settle = (exit: ChildExit): void => {
        if (this.process !== child) return;
        this.process = undefined;
        this.resolveFirstLine(undefined);
        this.afterExit(exit, performance.now() - startedMs);
        resolve();
      };
      child.once('error', (error) => {
        if (child.pid === undefined) settle({ code: null, signal: null, problem: error.message });
      });
      child.once('exit', (code, signal) => {
        if (child.pid !== undefined) killGroup(child.pid); // what it left behind
        // Its last lines come before 'close', which never comes if something that escaped the group holds its pipes.
        child.once('close', () => settle({ code, signal }));
        setTimeout(() => settle({ code, signal }), LAST_LINES_MS).unref();
      });
    });
  }

  private read(child: ChildProcess, from: 'stdout' | 'stderr'): void {
    const splitter = new LineSplitter();
    const emit = (lines: readonly string[]): void => {
      for (const line of lines) this.events.onLine(this.name, line);
      if (from === 'stdout' && lines.length > 0) this.resolveFirstLine(lines[0]);
    };
    const stream = child[from]!;
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => emit(splitter.push(chunk)));
    stream.once('end', () => emit(splitter.end()));
  }

  private afterExit(exit: ChildExit, ranMs: number): void {
    if (this.stopping) return;
    this.failures = failuresInRow(this.failures, ranMs);
    const again = this.spec.restart && !(exit.code !== null && HOPELESS.includes(exit.code));
    const restartMs = again ? restartDelayMs(this.failures) : undefined;
    if (restartMs !== undefined) this.timer = setTimeout(() => this.start(), restartMs);
    this.events.onExit(this.name, exit, restartMs);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // ESRCH: nothing of it is left
  }
}
