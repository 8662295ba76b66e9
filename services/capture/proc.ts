// What /proc says about processes. A process may go at any moment: every reader answers undefined then.

import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseCgroup } from './cgroup.ts';
import { NO_POD, type Pod, readPod } from './pod.ts';
import type { Process } from './targets.ts';

const NS_PER_TICK = 10_000_000n; // USER_HZ is 100 in every Linux ABI
const DELETED = ' (deleted)';
const MAX_NAME_BYTES = 255;

export interface ProcessFacts {
  readonly pid: number;
  readonly executableName: string;
  readonly executablePath: string;
  /** Unix epoch ns, exact to 10 ms; 0 unknown. */
  readonly creationTimeNs: bigint;
  readonly serviceName: string;
  /** '' outside of a container, as are the pod's outside of one and where they are not known. */
  readonly containerId: string;
  readonly podUid: string;
  readonly pod: Pod;
}

/** All processes with an executable that we may read (kernel threads have none). */
export async function listProcesses(): Promise<Process[]> {
  const entries = await readdir('/proc');
  const found = await Promise.all(
    entries
      .filter((entry) => /^\d+$/.test(entry))
      .map(async (entry) => {
        const link = await readlink(`/proc/${entry}/exe`).catch(() => undefined);
        return link === undefined ? undefined : { pid: Number(entry), executable: withoutDeletedMark(link) };
      }),
  );
  return found.filter((process) => process !== undefined);
}

/** Synchronous: needed at the first event of a process, before its batch goes out. */
export function readProcess(pid: number, bootTimeNs: bigint): ProcessFacts | undefined {
  try {
    const executablePath = withoutDeletedMark(readlinkSync(`/proc/${pid}/exe`));
    const executableName = basename(executablePath);
    const cgroup = parseCgroup(readFileSync(`/proc/${pid}/cgroup`, 'latin1'));
    return {
      pid,
      executableName,
      executablePath,
      creationTimeNs: wholeTicks(
        bootTimeNs + startTicks(readFileSync(`/proc/${pid}/stat`, 'latin1')) * NS_PER_TICK,
      ),
      serviceName: cutName(serviceName(readEnvironment(pid)) ?? executableName),
      ...cgroup,
      pod: cgroup.podUid === '' ? NO_POD : readPod(pid),
    };
  } catch {
    return undefined;
  }
}

/** '' where it may not be read: it belongs to its user alone, and capture need not be root. */
function readEnvironment(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return '';
  }
}

/** Identifies this boot of this kernel. */
export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim();
}

/** Field 22 of /proc/<pid>/stat (proc(5)); the name in field 2 may contain spaces and brackets. */
export function startTicks(stat: string): bigint {
  return BigInt(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0');
}

/** As OpenTelemetry SDKs name a service: OTEL_SERVICE_NAME, else service.name of OTEL_RESOURCE_ATTRIBUTES. */
export function serviceName(environ: string): string | undefined {
  const variables = environ.split('\0');
  const value = (name: string) =>
    variables.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
  const attribute = value('OTEL_RESOURCE_ATTRIBUTES')
    ?.split(',')
    .map((pair) => pair.split('='))
    .find(([key]) => key!.trim() === 'service.name');
  return value('OTEL_SERVICE_NAME') || percentDecoded(attribute?.slice(1).join('=').trim()) || undefined;
}

/** The first 255 bytes in UTF-8, whole characters: the name becomes a token of a subject, whose length is bounded. */
export function cutName(name: string): string {
  const { read } = new TextEncoder().encodeInto(name, new Uint8Array(MAX_NAME_BYTES));
  return name.slice(0, read);
}

/** Values of resource attributes are percent-encoded; one that is not is taken as it stands. */
function percentDecoded(text = ''): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Finer digits would be those of our own reading of the clock, and differ at every start of ours. */
function wholeTicks(ns: bigint): bigint {
  return ((ns + NS_PER_TICK / 2n) / NS_PER_TICK) * NS_PER_TICK;
}

function withoutDeletedMark(link: string): string {
  return link.endsWith(DELETED) ? link.slice(0, -DELETED.length) : link;
}
