// `flowtag check-host`: can this host be probed? One JSON line a check on stdout; `flowtag doctor` shows them.
// Every answer comes from trying, not from version numbers.
import { readFile, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { z } from 'zod';
import type { Check } from '../../schemas/check.ts';
import { loadConfig } from '../runtime/config.ts';
import { ConfigError, FlowtagError } from '../runtime/errors.ts';
import { missingFrom, namesOf, neededFor } from './capabilities.ts';
import { readEntryOffset } from './entry-offset.ts';
import { GoBinaryError } from './go/go-binary-error.ts';
import { notesOn } from './go/probes.ts';
import { type GoBinary, readGoBinary } from './go/read-go-binary.ts';
import { BpfError, libbpfVersion } from './libbpf.ts';
import { BPF_OBJECT, Probes } from './probes.ts';
import { listProcesses } from './proc.ts';
import { isTarget, parseTarget } from './targets.ts';

const BTF = '/sys/kernel/btf/vmlinux';
const MAX_PER_GLOB = 20;

const options = z.object({
  target: z.array(z.string().min(1)).default([]).describe('also check this pid, path or glob'),
});

export async function main(argv: readonly string[]): Promise<number> {
  try {
    const { target } = loadConfig('doctor', options, argv);
    for (const check of [checkPlatform, checkRights, checkBtf, checkLibbpf]) print(await check());
    for (const check of await checkProbes()) print(check);
    for (const text of target) for (const check of await checkTarget(text)) print(check);
    return 0;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
}

function print(check: Check): void {
  process.stdout.write(`${JSON.stringify(check)}\n`);
}

function ok(name: string, detail: string): Check {
  return { name, state: 'ok', detail, cure: '' };
}

async function checkPlatform(): Promise<Check> {
  const detail = `Linux ${release()}, ${process.arch}, Node ${process.version}`;
  if (process.platform === 'linux' && process.arch === 'x64') return ok('platform', detail);
  return { name: 'platform', state: 'fail', detail, cure: 'run capture on Linux on amd64' };
}

/** What the cheapest way needs; whether a dearer one is needed shows when the programs are tried. */
async function checkRights(): Promise<Check> {
  const uid = process.getuid?.();
  const who = uid === 0 ? 'root' : `user ${uid}, not root`;
  const needed = neededFor({ backend: 'tracepoint', uprobes: 'multi' });
  const missing = missingFrom(await readFile('/proc/self/status', 'latin1').catch(() => ''), needed);
  if (missing.length === 0) return ok('rights', uid === 0 ? who : `${who}, with ${namesOf(needed)}`);
  return {
    name: 'rights',
    state: 'warn',
    detail: `${who}, without ${namesOf(missing)}`,
    cure: 'run as root, or with these capabilities (systemd: AmbientCapabilities=)',
  };
}

async function checkBtf(): Promise<Check> {
  const info = await stat(BTF).catch(() => undefined);
  if (info) return ok('BTF', `${BTF}, ${(info.size / 1e6).toFixed(1)} MB`);
  return {
    name: 'BTF',
    state: 'fail',
    detail: `no ${BTF}`,
    cure: 'use a kernel built with CONFIG_DEBUG_INFO_BTF=y',
  };
}

async function checkLibbpf(): Promise<Check> {
  try {
    return ok('libbpf', libbpfVersion());
  } catch (error) {
    return {
      name: 'libbpf',
      state: 'fail',
      detail: (error as Error).message,
      cure: 'apt-get install libbpf1',
    };
  }
}

/** Loads the programs and attaches them for a moment. Without a target they let every event pass unseen. */
async function checkProbes(): Promise<Check[]> {
  const lockdown = await readFile('/sys/kernel/security/lockdown', 'latin1').catch(() => '');
  if (lockdown.includes('[confidentiality]'))
    return [
      {
        name: 'lockdown',
        state: 'fail',
        detail: 'confidentiality: BPF may not read memory',
        cure: 'boot with lockdown=integrity or without lockdown',
      },
    ];
  const settings = {
    objectPath: BPF_OBJECT,
    ringBytes: 1 << 20,
    captureQuery: false,
    maxContexts: 1_024,
  } as const;
  try {
    const probes = await Probes.load({ ...settings, uprobes: 'auto' });
    const uprobes = await checkUprobes(probes).finally(() => probes.close());
    return [
      ok('programs', 'load and pass the verifier'),
      ok('backend', probes.explanation),
      probes.seesUses
        ? ok('uses of open connections', 'seen')
        : {
            name: 'uses of open connections',
            state: 'warn',
            detail: 'not seen: neither a tracepoint on sends nor fentry nor kprobes are to be had',
            cure: 'use Linux 6.3 or newer, or one with kprobes; connections are still seen when they open',
          },
      uprobes,
    ];
  } catch (error) {
    return [failed('programs', error)];
  }
}

/** On the instruction where this program began: it is not executed again. */
async function checkUprobes(probes: Probes): Promise<Check> {
  const path = process.execPath;
  try {
    const offset = await readEntryOffset(path);
    const link = probes.attachUprobes({ path, offsets: [offset], cookies: [0n], pid: process.pid });
    await link.detach();
    const how = probes.uprobes === 'multi' ? 'uprobe_multi links' : 'perf events (slow to detach)';
    return ok('uprobes', how);
  } catch (error) {
    return failed('uprobes', error);
  }
}

function failed(name: string, error: unknown): Check {
  const known = error instanceof FlowtagError || error instanceof BpfError;
  if (!known) throw error;
  return { name, state: 'fail', detail: error.message, cure: cureOf(error.code) };
}

function cureOf(code: string): string {
  if (code === 'NOT_PERMITTED') return 'run as root';
  if (code === 'SECCOMP')
    return 'let the filter allow bpf(2) and perf_event_open(2) (systemd: SystemCallFilter=, Docker: --security-opt seccomp=)';
  if (code === 'NO_BPF_OBJECT' || code === 'BPF_LAYOUT') return 'npm run build';
  if (code === 'NO_BTF') return 'use a kernel built with CONFIG_DEBUG_INFO_BTF=y';
  return 'this kernel refuses the programs; Linux 5.15 or newer is needed';
}

async function checkTarget(text: string): Promise<Check[]> {
  const target = parseTarget(text, process.cwd());
  if (target.kind === 'path') return [await checkExecutable(text, target.path)];
  const processes = (await listProcesses()).filter((candidate) => isTarget(target, candidate));
  if (processes.length === 0)
    return [
      {
        name: `target ${text}`,
        state: target.kind === 'pid' ? 'fail' : 'warn',
        detail: target.kind === 'pid' ? 'no such process' : 'no process matches now',
        cure: target.kind === 'pid' ? 'name a process that runs' : 'it is found when it starts',
      },
    ];
  const byPath = new Map(processes.map(({ pid, executable }) => [executable, `/proc/${pid}/exe`]));
  return Promise.all(
    [...byPath]
      .slice(0, MAX_PER_GLOB)
      .map(([path, exe]) => checkExecutable(target.kind === 'pid' ? text : path, exe)),
  );
}

async function checkExecutable(name: string, path: string): Promise<Check> {
  try {
    return describe(name, await readGoBinary(path));
  } catch (error) {
    return {
      name: `target ${name}`,
      state: 'fail',
      detail: (error as Error).message,
      cure: cureOfTarget(error),
    };
  }
}

function cureOfTarget(error: unknown): string {
  const reason = error instanceof GoBinaryError ? error.reason : 'not_readable';
  if (reason === 'not_readable') return 'name an executable, or a running process, that you may read';
  if (reason === 'unsupported_go')
    return 'flowtag capture --allow-unknown-go, or build it with a Go that is listed in README.md';
  if (reason === 'not_attachable' || reason === 'no_symbols')
    return 'build it without profile-guided inlining: -pgo=off';
  return 'name a Go program for amd64 that serves HTTP with net/http';
}

function describe(name: string, binary: GoBinary): Check {
  const facts = [binary.goVersion, `${binary.sites.length} probe sites`];
  if (binary.stripped) facts.push('stripped');
  if (binary.pie) facts.push('position-independent');
  if (binary.channels.reason) facts.push(`no --channels: ${binary.channels.reason}`);
  const detail = [facts.join(', '), ...notesOn(binary)].join('; ');
  if (binary.notAttachable.length === 0) return ok(`target ${name}`, detail);
  return {
    name: `target ${name}`,
    state: 'warn',
    detail,
    cure: 'these facts will be missing; the rest is probed',
  };
}
