// The Go programs of test/targets as child processes that die with the test, and what the downstream saw.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { endChild } from './end-child.ts';

const READY_MS = 10_000;
const STOP_MS = 5_000;

export interface Running {
  readonly pid: number;
  readonly listen: string;
  /** HTTP/2 and HTTP/1.1 over TLS, by ALPN. */
  readonly tls?: string;
  stop(): Promise<void>;
}

/** What the caller says about an outbound call of its own; '' or 0 where it says nothing (`demo`, caddy). */
interface OutboundCall {
  /** Path and query that the caller was asked for; '' when it was asked for nothing. */
  readonly requestPath: string;
  /** The function that made the call, its file, and the line of the call, as Go's runtime names them. */
  readonly callerFunction: string;
  readonly callerFile: string;
  readonly callerLine: number;
  /** The function that net/http called for the inbound request. */
  readonly handlerFunction: string;
  /** Of the inbound request. */
  readonly traceparent: string;
}

/** One request as the downstream server saw it: `peer` is the caller's end of the connection. */
export interface DownstreamRequest extends OutboundCall {
  readonly time: string;
  readonly proto: 'HTTP/1.1' | 'HTTP/2.0' | 'raw';
  readonly peer: string;
  readonly local: string;
  readonly path: string;
}

/** One line of the dial log of `cases`: the call that caused this connection, which need not be the one that used it. */
export interface DialRecord extends OutboundCall {
  /**
   * `dial`: a dial has finished. `attempt`: a connect that was about to begin, to an address of its own; only /dual
   * and /refused have these, because there a connect can fail or be cancelled, and then a `dial` does not say its
   * local end. An attempt that was cancelled at once has no connect.
   */
  readonly kind: 'dial' | 'attempt';
  readonly began: string;
  readonly time: string;
  /** '' when the dial failed. */
  readonly local: string;
  readonly peer: string;
  /** '' when it succeeded. */
  readonly error: string;
}

export interface Downstream extends Running {
  readonly tls: string;
  /** One JSON line in, `ok` out. */
  readonly raw: string;
  requests(): Promise<DownstreamRequest[]>;
}

export interface Cases extends Running {
  /** What /refused connects to. */
  readonly refused: string;
  dials(): Promise<DialRecord[]>;
}

export interface CasesOptions {
  readonly program?: string;
  readonly idleGoroutines?: number;
  /** Open connections of each pool before the first request. */
  readonly warm?: number;
  /** Serves TLS, too. */
  readonly tls?: boolean;
  /** File for a CPU profile, written by stop(). */
  readonly cpuProfile?: string;
}

interface ReadyLine {
  readonly listen: string;
  readonly tls?: string;
  readonly raw?: string;
  readonly refused?: string;
}

export function targetPath(name: string): string {
  return resolve('build/targets', name);
}

/** Starts a program that prints one JSON line when it is ready. */
export async function startProgram(path: string, args: readonly string[]): Promise<Running & ReadyLine> {
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
  return { ...(JSON.parse(line) as ReadyLine), pid: child.pid!, stop: () => endChild(child, STOP_MS) };
}

export async function startDownstream(): Promise<Downstream> {
  const log = logFile('downstream');
  const running = await startProgram(targetPath('downstream'), ['-listen', '127.0.0.1:0', '-log', log]);
  return {
    ...running,
    tls: running.tls!,
    raw: running.raw!,
    requests: () => readLog<DownstreamRequest>(log),
    stop: () => running.stop().finally(() => rm(log, { force: true })),
  };
}

/** The program in which each path is a case of its own (test/targets/README.md). */
export async function startCases(downstream: Downstream, options: CasesOptions = {}): Promise<Cases> {
  const log = logFile('dials');
  const args = ['-listen', '127.0.0.1:0', '-log', log];
  args.push('-downstream', downstream.listen, '-downstream-tls', downstream.tls);
  args.push('-downstream-raw', downstream.raw);
  if (options.idleGoroutines) args.push('-idle-goroutines', String(options.idleGoroutines));
  if (options.warm) args.push('-warm', String(options.warm));
  if (options.tls) args.push('-tls');
  if (options.cpuProfile) args.push('-cpuprofile', options.cpuProfile);
  const running = await startProgram(options.program ?? targetPath('cases'), args);
  return {
    ...running,
    refused: running.refused!,
    dials: () => readLog<DialRecord>(log),
    stop: () => running.stop().finally(() => rm(log, { force: true })),
  };
}

export function startDemo(downstream: Running, program = targetPath('demo')): Promise<Running> {
  return startProgram(program, ['-listen', '127.0.0.1:0', '-downstream', `http://${downstream.listen}`]);
}

export interface Load {
  readonly server: Running;
  /**
   * Requests go to `<path>/<first>` … `<path>/<first + requests - 1>`; with several paths each number goes to one of
   * them in turn.
   */
  readonly path: string | readonly string[];
  readonly requests: number;
  readonly clients: number;
  readonly first?: number;
  /** Of all clients together; without it each client asks as fast as it is answered. */
  readonly requestsPerSecond?: number;
  /** No request begins later. */
  readonly durationMs?: number;
  /** Each second request to a path carries a traceparent of its own. */
  readonly traceparent?: boolean;
  /** Over HTTP/2 and TLS. */
  readonly tls?: boolean;
  /** Answers that count as a success beside 200. */
  readonly allowStatus?: number;
  /** A request may fail (/panic breaks its connection); each has a connection of its own. */
  readonly allowErrors?: boolean;
}

export interface LoadSummary {
  readonly requests: number;
  readonly ok: number;
  readonly failed: number;
  readonly errors?: Record<string, number>;
  readonly durationMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Rejects when a request failed. */
export async function runLoad(load: Load): Promise<LoadSummary> {
  const base = load.tls ? `https://${load.server.tls}` : `http://${load.server.listen}`;
  const args = [load.path].flat().flatMap((path) => ['-url-prefix', `${base}${path}`]);
  args.push('-n', String(load.requests), '-c', String(load.clients), '-first', String(load.first ?? 0));
  if (load.requestsPerSecond) args.push('-rate', String(load.requestsPerSecond));
  if (load.durationMs) args.push('-duration', `${load.durationMs}ms`);
  if (load.traceparent) args.push('-traceparent');
  if (load.allowStatus) args.push('-allow-status', String(load.allowStatus));
  if (load.allowErrors) args.push('-allow-errors');
  const { stdout } = await promisify(execFile)(targetPath('load'), args, { timeout: 120_000 });
  return JSON.parse(stdout) as LoadSummary;
}

function logFile(name: string): string {
  return join(tmpdir(), `flowtag-${name}-${process.pid}-${performance.now()}.jsonl`);
}

async function readLog<T>(path: string): Promise<T[]> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as T);
}
