// Finds what to probe, again and again: processes that start later are found too. An executable that is named by
// path is attached before any process runs it, so nothing of a later process is missed.
import { realpath } from 'node:fs/promises';
import { type Candidate, type Executable, type Executables, fileKey, isRefusal } from './executables.ts';
import { isTarget, type Process, type Target } from './targets.ts';

const MAX_NOTES = 64;

export interface DiscoveryOptions {
  readonly targets: readonly Target[];
  /** Where to follow jobs through channels too. */
  readonly channels?: readonly Target[];
  readonly executables: Executables;
  readonly listProcesses: () => Promise<Process[]>;
  readonly addTarget: (pid: number, binary: number) => void;
  /** The process ended, or runs an executable now that is not probed. */
  readonly removeTarget: (pid: number) => void;
  readonly onProcesses: (running: ReadonlyMap<number, string>) => void;
  readonly onAttached: (executable: Executable, target: Target) => void;
  readonly onDetached: (executable: Executable) => void;
  /** A target that cannot be probed, told once for each reason. */
  readonly onRefused: (target: string, reason: string) => void;
}

/** What one look found. */
interface Scan {
  /** Keys of executables that a target names or a targeted process runs. */
  readonly wanted: Set<string>;
  readonly refusals: Map<string, string>;
  /** Pids in the kernel's filter, with the executable they are there for. */
  readonly probed: Map<number, string>;
}

export class Discovery {
  private readonly options: DiscoveryOptions;
  private channelTargets: readonly Target[] = [];
  /** `pid executable` → file key of processes that are not probed: most of a host, which then cost no stat. */
  private readonly keys = new Map<string, string>();
  private probed = new Map<number, string>();
  private refusals = new Map<string, string>();

  constructor(options: DiscoveryOptions) {
    this.options = options;
  }

  /** In words, what is asked for and not probed. */
  get notes(): string[] {
    return [...this.refusals].map(([target, reason]) => `${target}: ${reason}`).slice(0, MAX_NOTES);
  }

  async scan(): Promise<void> {
    const { targets, executables, onDetached } = this.options;
    const processes = await this.options.listProcesses();
    this.options.onProcesses(new Map(processes.map(({ pid, executable }) => [pid, executable])));
    const scan: Scan = { wanted: new Set(), refusals: new Map(), probed: new Map() };
    const resolved = await Promise.all(targets.map(withRealPath));
    this.channelTargets = await Promise.all((this.options.channels ?? []).map(withRealPath));
    for (const [index, target] of resolved.entries())
      if (target.kind === 'path') await this.attachFile(target, targets[index]!.text, scan);
    for (const process of processes) {
      const target = resolved.find((candidate) => isTarget(candidate, process));
      if (target) await this.attachProcess(process, target, resolved, scan);
    }
    for (const target of resolved)
      if (target.kind === 'pid' && !processes.some(({ pid }) => pid === target.pid))
        scan.refusals.set(target.text, 'no such process');
    for (const executable of await executables.retain(scan.wanted)) onDetached(executable);
    this.forget(processes, scan.probed);
    for (const [target, reason] of scan.refusals)
      if (this.refusals.get(target) !== reason) this.options.onRefused(target, reason);
    this.refusals = scan.refusals;
  }

  private async attachFile(target: Target & { kind: 'path' }, text: string, scan: Scan): Promise<void> {
    const key = await fileKey(target.path);
    if (key === undefined)
      scan.refusals.set(text, 'no such file (a program that is not there yet is found when it appears)');
    else {
      const channels = this.followsChannels({ pid: 0, executable: target.path });
      await this.ensure(key, { path: target.path, readPath: target.path, channels }, target, scan);
    }
  }

  private async attachProcess(
    process: Process,
    target: Target,
    all: readonly Target[],
    scan: Scan,
  ): Promise<void> {
    const exe = `/proc/${process.pid}/exe`;
    const id = `${process.pid} ${process.executable}`;
    const file = this.keys.get(id) ?? (await fileKey(exe));
    if (file === undefined) return; // gone, or not ours to see
    // A pid is a target of its own unless another target takes every process of that file.
    const alone =
      target.kind === 'pid' && !all.some((other) => other.kind !== 'pid' && isTarget(other, process));
    const pid = alone ? process.pid : undefined;
    const key = alone ? `${file}:${process.pid}` : file;
    const wide = target.kind === 'auto';
    const channels = this.followsChannels(process);
    const candidate = { path: process.executable, readPath: exe, pid, wide, channels };
    const executable = await this.ensure(key, candidate, target, scan);
    if (executable === undefined) this.keys.set(id, file);
    else this.probe(process.pid, key, executable.index, scan);
  }

  private followsChannels(process: Process): boolean {
    return this.channelTargets.some((wanted) => isTarget(wanted, process));
  }

  private probe(pid: number, key: string, binary: number, { probed, refusals }: Scan): void {
    try {
      // Every time: the kernel forgets a process that executes another program, also when it is the same again.
      if ((this.probed.get(pid) ?? key) !== key) this.options.removeTarget(pid);
      this.options.addTarget(pid, binary);
      probed.set(pid, key);
    } catch (error) {
      refusals.set(`pid ${pid}`, `its connections are not seen: ${(error as Error).message}`);
    }
  }

  private async ensure(
    key: string,
    candidate: Candidate,
    target: Target,
    { wanted, refusals }: Scan,
  ): Promise<Executable | undefined> {
    const { executables, onAttached } = this.options;
    const fresh = !executables.has(key);
    const result = await executables.ensure(key, candidate);
    wanted.add(key);
    if (isRefusal(result)) {
      const name = target.kind === 'auto' || target.kind === 'glob' ? candidate.path : target.text;
      if (target.kind !== 'auto' || !result.notGo) refusals.set(name, result.reason);
      return undefined;
    }
    if (fresh) onAttached(result, target);
    return result;
  }

  private forget(processes: readonly Process[], probed: Map<number, string>): void {
    const running = new Set(processes.map(({ pid, executable }) => `${pid} ${executable}`));
    for (const id of this.keys.keys()) if (!running.has(id)) this.keys.delete(id);
    for (const pid of this.probed.keys()) if (!probed.has(pid)) this.options.removeTarget(pid);
    this.probed = probed;
  }
}

/** A path as /proc names it; the path itself while there is no such file. */
async function withRealPath(target: Target): Promise<Target> {
  if (target.kind !== 'path') return target;
  return { ...target, path: await realpath(target.path).catch(() => target.path) };
}
