// The probed executables: each gets an index, its Go offsets in the kernel, and one link with all its sites. One whose
// probes are hit too often loses them, and keeps its index: its connections go on to be seen, and say so.
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Budget } from './budget.ts';
import { isGoHttpServer } from './go/is-go-http-server.ts';
import type { GoOffsets } from './go/offsets.ts';
import { readGoBinary } from './go/read-go-binary.ts';
import { Symbolizer } from './go/symbolizer.ts';
import { Workers } from './go/workers.ts';
import type { BpfLink, UprobeSites } from './libbpf.ts';
import { notesOf, sitesOf } from './probe-sites.ts';
import { isPassing, type Refusal, refusalOf } from './refusal.ts';

const MAX_EXECUTABLES = 256; // MAX_BINARIES in bpf/maps.h
const SCANS_TO_DETACH = 60;
/** What it needs of the kernel side. */
export interface UprobeAttacher {
  setBinary(index: number, offsets: GoOffsets, instrumented?: boolean): void;
  attachUprobes(sites: UprobeSites): BpfLink;
  /** Hits since load by the hook's number. */
  hits(index: number): number[];
}

export interface Executable {
  readonly path: string;
  readonly index: number;
  readonly goVersion: string;
  /** In words, what of it cannot be seen, or not as cheaply as usual. */
  readonly notes: readonly string[];
}

const CROWDED: Refusal = {
  reason: `${MAX_EXECUTABLES} executables are probed already: name fewer targets`,
  notGo: false,
};
export interface Candidate {
  readonly path: string;
  /** Where to read it: /proc/<pid>/exe works across mount namespaces and after the file was unlinked. */
  readonly readPath: string;
  /** That process alone. */
  readonly pid?: number | undefined;
  /** Nobody named it: look cheaply first, most executables of a host are no Go servers. */
  readonly wide?: boolean | undefined;
  /** Follow jobs through channels too. */
  readonly channels?: boolean | undefined;
}

const NOT_A_SERVER: Refusal = { reason: 'not a Go HTTP server', notGo: true };

/** What the code of an executable tells about a call stack. */
export interface Symbols {
  readonly symbolizer: Symbolizer;
  readonly mainModule: string;
  /** Undefined where the kernel follows jobs through channels. */
  readonly workers: Workers | undefined;
}

interface Attached extends Executable, Symbols {
  readonly offsets: GoOffsets;
  notes: readonly string[];
  /** Undefined once its probes were taken off. */
  link: BpfLink | undefined;
  watcher: FSWatcher | undefined;
  unwantedScans: number;
}

export interface ExecutablesOptions {
  readonly allowUnknownGo: boolean;
  readonly maxHitsPerSecond: number;
}

export class Executables {
  private readonly attacher: UprobeAttacher;
  private readonly options: ExecutablesOptions;
  private readonly budget: Budget;
  private readonly attached = new Map<string, Attached>();
  private readonly refused = new Map<string, Refusal>();
  private readonly paths: string[] = new Array(MAX_EXECUTABLES).fill('');

  constructor(attacher: UprobeAttacher, options: ExecutablesOptions) {
    this.attacher = attacher;
    this.options = options;
    this.budget = new Budget(options.maxHitsPerSecond);
  }

  /** Of an executable by the index that events carry; also of one that is no longer attached. */
  pathOf(index: number): string {
    return this.paths[index] ?? '';
  }

  /** What names the functions of an attached executable, by its index. */
  symbolsOf(index: number): Symbols | undefined {
    for (const executable of this.attached.values()) if (executable.index === index) return executable;
    return undefined;
  }

  /** What could not be read or understood of the executables' code; callers are less exact, or doubted, for it. */
  faults(): Record<string, number> {
    const attached = [...this.attached.values()];
    return {
      symbols_unreadable: attached.reduce((sum, { symbolizer }) => sum + symbolizer.failures, 0),
      code_unclear: attached.reduce((sum, { workers }) => sum + (workers?.unclear ?? 0), 0),
    };
  }

  list(): Executable[] {
    return [...this.attached.values()];
  }

  has(key: string): boolean {
    return this.attached.has(key) || this.refused.has(key);
  }

  /** Attaches an executable once; later calls with its key answer from memory. */
  async ensure(key: string, candidate: Candidate): Promise<Executable | Refusal> {
    const known = this.attached.get(key) ?? this.refused.get(key);
    if (known) return known;
    try {
      if (candidate.wide && !(await isGoHttpServer(candidate.readPath)))
        return this.refuse(key, NOT_A_SERVER);
      return await this.attach(key, candidate);
    } catch (error) {
      return isPassing(error) ? refusalOf(error) : this.refuse(key, refusalOf(error));
    }
  }

  /** Detaches executables that for many scans no target named and no process ran: a restart finds its probes. */
  async retain(keys: ReadonlySet<string>): Promise<Executable[]> {
    const gone: Executable[] = [];
    for (const [key, executable] of this.attached) {
      executable.unwantedScans = keys.has(key) ? 0 : executable.unwantedScans + 1;
      if (executable.unwantedScans < SCANS_TO_DETACH) continue;
      this.attached.delete(key);
      this.budget.forget(key);
      await this.release(executable);
      gone.push(executable);
    }
    if (gone.length > 0)
      for (const [key, refusal] of this.refused) if (refusal === CROWDED) this.refused.delete(key);
    return gone;
  }

  /** Takes the probes off executables where they are hit too often; they stay off until capture starts anew. */
  async enforceBudget(nowMs: number): Promise<Executable[]> {
    const stopped: Executable[] = [];
    for (const [key, executable] of this.attached) {
      const { index, link } = executable;
      if (link === undefined) continue;
      const hits = this.attacher.hits(index).reduce((sum, count) => sum + count, 0);
      const perSecond = this.budget.exceeded(key, hits, nowMs);
      if (perSecond === undefined) continue;
      await this.takeOff(executable);
      executable.notes = [
        `its probes were hit ${perSecond} times a second, more than max-hits allows (${this.options.maxHitsPerSecond}): taken off until capture starts anew`,
      ];
      stopped.push(executable);
    }
    return stopped;
  }

  /** Takes all probes off. What events still name can be looked up until close(). */
  async detach(): Promise<void> {
    for (const executable of this.attached.values()) await this.takeOff(executable);
  }

  async close(): Promise<void> {
    for (const executable of this.attached.values()) await this.release(executable);
    this.attached.clear();
  }

  /** Contexts first: with half of the probes gone they would be of earlier requests. */
  private async takeOff(executable: Attached): Promise<void> {
    const { index, offsets, link } = executable;
    if (link === undefined) return;
    executable.link = undefined;
    executable.watcher?.close();
    this.attacher.setBinary(index, offsets, false);
    await link.detach();
  }

  private async release(executable: Attached): Promise<void> {
    await this.takeOff(executable);
    executable.symbolizer.close();
  }

  private async attach(
    key: string,
    { path, readPath, pid, channels = false }: Candidate,
  ): Promise<Executable | Refusal> {
    const binary = await readGoBinary(readPath, this.options);
    const index = this.freeIndex();
    if (index === undefined) return this.refuse(key, CROWDED);
    const { goVersion, offsets } = binary;
    const followed = channels && binary.channels.reason === '';
    this.attacher.setBinary(index, offsets);
    const symbolizer = new Symbolizer(readPath, binary.symbols);
    let link: BpfLink;
    try {
      link = this.attacher.attachUprobes({ path: readPath, ...sitesOf(binary, index, channels), pid });
    } catch (error) {
      symbolizer.close();
      throw error;
    }
    const executable: Attached = {
      path,
      index,
      goVersion,
      notes: notesOf(binary, channels),
      offsets,
      mainModule: binary.modulePath,
      symbolizer,
      workers: followed ? undefined : new Workers(symbolizer, binary.modulePath),
      link,
      watcher: undefined,
      unwantedScans: 0,
    };
    this.attached.set(key, executable);
    this.watchFile(key, executable, readPath);
    this.paths[index] = path;
    return executable;
  }

  /**
   * A program that is written over keeps its inode, and the kernel would go on to put our breakpoints where the old
   * code was. It is not running then (ETXTBSY): taking the probes off at once is in time for its next start.
   */
  private watchFile(key: string, executable: Attached, readPath: string): void {
    const contents = fileKey(readPath);
    const release = async () => {
      if ((await fileKey(executable.path)) === (await contents) || this.attached.get(key) !== executable)
        return;
      this.attached.delete(key);
      this.budget.forget(key);
      await this.release(executable);
    };
    try {
      executable.watcher = watch(executable.path, { persistent: false }, () => void release());
      executable.watcher.on('error', () => executable.watcher?.close());
    } catch {
      // Deleted, or in another mount namespace: nobody can write over it there unseen but from inside.
    }
  }

  private refuse(key: string, refusal: Refusal): Refusal {
    if (this.refused.size >= 4 * MAX_EXECUTABLES) this.refused.delete(this.refused.keys().next().value!);
    this.refused.set(key, refusal);
    return refusal;
  }

  private freeIndex(): number | undefined {
    const used = new Set([...this.attached.values()].map(({ index }) => index));
    // The one not used for longest would be kinder to late events; executables change too rarely to matter.
    for (let index = 0; index < MAX_EXECUTABLES; index++) if (!used.has(index)) return index;
    return undefined;
  }
}

export function isRefusal(result: Executable | Refusal): result is Refusal {
  return 'reason' in result;
}

/**
 * Identity of a file's contents, also through /proc/<pid>/exe; undefined when it cannot be seen. Without the device:
 * containers of one image see one file under several, and attaching twice would give every event twice.
 */
export async function fileKey(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info && `${info.ino}:${info.size}:${info.mtimeMs}`;
}
