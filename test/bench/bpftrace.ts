// The original two-probe script under bpftrace: the tool that flowtag is measured against.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { endChild } from '../support/end-child.ts';
import type { Tracer } from './tracer.ts';

const run = promisify(execFile);
const TOOLS = resolve('build/tools');
const UNPACKED = join(TOOLS, 'usr/bin/bpftrace');
const PACKAGES = ['bpftrace', 'libbpfcc']; // its other libraries come with clang
const ATTACH_MS = 60_000;
const STOP_MS = 10_000;
const ATTACHED = '__BPFTRACE_NOTIFY_PROBES_ATTACHED';
// bpftrace reads tracepoint formats from tracefs. Mounted for it alone, where it is not there: gone with it.
const WITH_TRACEFS =
  'test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; ' +
  'test -d /sys/kernel/debug/tracing/events || { mount -t debugfs debugfs /sys/kernel/debug && ' +
  'mount -t tracefs tracefs /sys/kernel/debug/tracing; }; exec "$@"';

export interface Bpftrace {
  readonly path: string;
  readonly version: string;
}

/** From PATH, else unpacked from the distribution's package into build/tools. */
export async function findBpftrace(): Promise<Bpftrace> {
  if (!existsSync(UNPACKED) && !(await versionOf('bpftrace'))) await unpack();
  for (const path of [UNPACKED, 'bpftrace']) {
    const version = await versionOf(path);
    if (version) return { path, version };
  }
  throw new Error('bpftrace does not run here; install it and repeat: apt-get install bpftrace');
}

export interface ScriptOptions {
  /** The script; TARGET in it stands for `target`. */
  readonly file: string;
  readonly target: string;
  readonly attachMs: number;
  /** Each line that the script prints. */
  readonly onLine: (line: string) => void;
}

export interface Script {
  readonly pid: number;
  /** Why it ended by itself, when it did. */
  readonly failure: string | undefined;
  stop(): Promise<void>;
}

export async function startSeed(bpftrace: Bpftrace, target: string): Promise<Tracer> {
  let printedLines = 0;
  const script = await startScript(bpftrace, {
    file: 'test/bench/seed.bt',
    target,
    attachMs: ATTACH_MS,
    onLine: () => void printedLines++,
  });
  return {
    processes: { bpftrace: script.pid },
    async seen() {
      // Fewer than requests: keyed by process, it forgets one request for another.
      if (script.failure !== undefined || printedLines === 0)
        throw new Error(`bpftrace printed ${printedLines} connections:\n${script.failure ?? ''}`);
      return { 'connections printed': printedLines };
    },
    stop: () => script.stop(),
  };
}

/** Resolves when its probes are attached. */
export async function startScript(
  bpftrace: Bpftrace,
  { file, target, attachMs, onLine }: ScriptOptions,
): Promise<Script> {
  const script = (await readFile(file, 'utf8')).replace('TARGET', target);
  // Printed line by line, as on a terminal.
  const command = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    WITH_TRACEFS,
    'sh',
    bpftrace.path,
    '-B',
    'line',
    '-e',
    script,
  ];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
    env: { ...environment(), [ATTACHED]: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let attached = false;
  let said = '';
  // Its own lines, "Attaching 2 probes...", come before.
  createInterface(child.stdout).on('line', (line) => attached && onLine(line));
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk).slice(-4_000);
    attached ||= said.includes(ATTACHED);
  });
  const deadline = performance.now() + attachMs;
  while (!attached) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await endChild(child, STOP_MS);
      throw new Error(`bpftrace did not attach:\n${said}`);
    }
    await sleep(50);
  }
  return {
    pid: child.pid!,
    get failure() {
      return child.exitCode === null ? undefined : said;
    },
    stop: () => endChild(child, STOP_MS),
  };
}

async function unpack(): Promise<void> {
  const download = resolve('build/bpftrace-download');
  await rm(download, { recursive: true, force: true });
  await mkdir(download, { recursive: true });
  const apt = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', ...PACKAGES];
  try {
    await run('apt-get', apt, { cwd: download });
    await run('sh', ['-c', 'for deb in *.deb; do dpkg -x "$deb" "$1" || exit 1; done', 'sh', TOOLS], {
      cwd: download,
    });
  } catch (cause) {
    throw new Error('bpftrace cannot be downloaded; install it and repeat: apt-get install bpftrace', {
      cause,
    });
  } finally {
    await rm(download, { recursive: true, force: true });
  }
}

async function versionOf(path: string): Promise<string | undefined> {
  const { stdout } = await run(path, ['--version'], { env: environment() }).catch(() => ({ stdout: '' }));
  return /v\d[\w.-]*/.exec(stdout)?.[0];
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LD_LIBRARY_PATH: join(TOOLS, 'usr/lib/x86_64-linux-gnu') };
}
