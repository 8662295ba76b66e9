// The Go programs of test/targets as child processes that die with the test, and what the downstream saw.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const READY_MS = 10_000;

export interface Running {
  readonly pid: number;
  readonly listen: string;
  stop(): Promise<void>;
}

/** One request as the downstream server saw it: `peer` is the caller's end of the connection. */
export interface DownstreamRequest {
  readonly peer: string;
  readonly local: string;
  readonly path: string;
  /** Path and query that the caller was asked for, as it says itself. */
  readonly requestPath: string;
}

export interface Downstream extends Running {
  requests(): Promise<DownstreamRequest[]>;
}

export function targetPath(name: string): string {
  return resolve('build/targets', name);
}

/** Starts a program that prints one JSON line when it is ready. */
export async function startProgram(path: string, args: readonly string[]): Promise<Running> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', path, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await Promise.race([
    once(createInterface(child.stdout!), 'line'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`${path} ended with ${code}`))),
    once(AbortSignal.timeout(READY_MS), 'abort').then(() =>
      Promise.reject(new Error(`${path} is not ready`)),
    ),
  ])) as [string];
  const { listen } = JSON.parse(line) as { listen: string };
  return { pid: child.pid!, listen, stop: () => stop(child) };
}

export async function startDownstream(): Promise<Downstream> {
  const log = join(tmpdir(), `flowtag-downstream-${process.pid}-${performance.now()}.jsonl`);
  const running = await startProgram(targetPath('downstream'), ['-listen', '127.0.0.1:0', '-log', log]);
  return {
    ...running,
    requests: async () =>
      (await readFile(log, 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as DownstreamRequest),
    stop: async () => {
      await running.stop();
      await rm(log, { force: true });
    },
  };
}

export function startDemo(downstream: Running, program = targetPath('demo')): Promise<Running> {
  return startProgram(program, ['-listen', '127.0.0.1:0', '-downstream', `http://${downstream.listen}`]);
}

export interface Load {
  readonly server: Running;
  /** Requests go to `<path>/<first>` … `<path>/<first + requests - 1>`. */
  readonly path: string;
  readonly requests: number;
  readonly clients: number;
  readonly first?: number;
}

/** Rejects when a request failed. */
export async function runLoad({ server, path, requests, clients, first = 0 }: Load): Promise<void> {
  const url = `http://${server.listen}${path}`;
  const numbers = ['-n', requests, '-c', clients, '-first', first].map(String);
  await promisify(execFile)(targetPath('load'), ['-url-prefix', url, ...numbers], { timeout: 120_000 });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await exited;
  clearTimeout(timer);
}
