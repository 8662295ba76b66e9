// The probed executables: each gets an index, its Go offsets in the kernel, and one link with all its sites.
import { stat } from 'node:fs/promises';
import { HOOK } from './bpf/layout.gen.ts';
import { GoBinaryError } from './go/go-binary-error.ts';
import { isGoHttpServer } from './go/is-go-http-server.ts';
import type { GoOffsets } from './go/offsets.ts';
import { type GoBinary, readGoBinary } from './go/read-go-binary.ts';
import { BpfError, type BpfLink, type UprobeSites } from './libbpf.ts';

const MAX_EXECUTABLES = 256; // MAX_BINARIES in bpf/maps.h
const SCANS_TO_DETACH = 60;
const GUARDED = 1 << 16; // COOKIE_GUARDED in bpf/events.h
const HOOKS = {
  request_start: HOOK.HOOK_REQUEST_START,
  request_end: HOOK.HOOK_REQUEST_END,
  goroutine_start: HOOK.HOOK_GOROUTINE_START,
  goroutine_exit: HOOK.HOOK_GOROUTINE_EXIT,
} as const;

/** What it needs of the kernel side. */
export interface UprobeAttacher {
  setBinary(index: number, offsets: GoOffsets): void;
  attachUprobes(sites: UprobeSites): BpfLink;
}

export interface Executable {
  readonly path: string;
  readonly index: number;
  readonly goVersion: string;
}

/** Why an executable is not probed, for the user; `notGo`: not a Go HTTP server, so that a wide target is silent. */
export interface Refusal {
  readonly reason: string;
  readonly notGo: boolean;
}

const CROWDED: Refusal = {
  reason: `${MAX_EXECUTABLES} executables are probed already: name fewer targets`,
  notGo: false,
};
/** The process ended meanwhile, or we were short of something: the next process of that file may fare better. */
const PASSING = new Set(['ENOENT', 'ESRCH', 'EMFILE', 'ENFILE', 'ENOMEM']);

export interface Candidate {
  readonly path: string;
  /** Where to read it: /proc/<pid>/exe works across mount namespaces and after the file was unlinked. */
  readonly readPath: string;
  /** That process alone. */
  readonly pid?: number | undefined;
  /** Nobody named it: look cheaply first, most executables of a host are no Go servers. */
  readonly wide?: boolean | undefined;
}

const NOT_A_SERVER: Refusal = { reason: 'not a Go HTTP server', notGo: true };

interface Attached extends Executable {
  readonly link: BpfLink;
  unwantedScans: number;
}

export class Executables {
  private readonly attacher: UprobeAttacher;
  private readonly allowUnknownGo: boolean;
  private readonly attached = new Map<string, Attached>();
  private readonly refused = new Map<string, Refusal>();
  private readonly paths: string[] = new Array(MAX_EXECUTABLES).fill('');

  constructor(attacher: UprobeAttacher, allowUnknownGo: boolean) {
    this.attacher = attacher;
    this.allowUnknownGo = allowUnknownGo;
  }

  /** Of an executable by the index that events carry; also of one that is no longer attached. */
  pathOf(index: number): string {
    return this.paths[index] ?? '';
  }

  list(): Executable[] {
    return [...this.attached.values()];
  }

  has(key: string): boolean {
    return this.attached.has(key) || this.refused.has(key);
  }

  /** Attaches an executable once; later calls with its key answer from memory. */
  async ensure(key: string, { path, readPath, pid, wide }: Candidate): Promise<Executable | Refusal> {
    const known = this.attached.get(key) ?? this.refused.get(key);
    if (known) return known;
    try {
      if (wide && !(await isGoHttpServer(readPath))) return this.refuse(key, NOT_A_SERVER);
      return await this.attach(key, path, readPath, pid);
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
      await executable.link.detach();
      gone.push(executable);
    }
    if (gone.length > 0)
      for (const [key, refusal] of this.refused) if (refusal === CROWDED) this.refused.delete(key);
    return gone;
  }

  async close(): Promise<void> {
    for (const { link } of this.attached.values()) await link.detach();
    this.attached.clear();
  }

  private async attach(
    key: string,
    path: string,
    readPath: string,
    pid?: number,
  ): Promise<Executable | Refusal> {
    const binary = await readGoBinary(readPath, { allowUnknownGo: this.allowUnknownGo });
    const index = this.freeIndex();
    if (index === undefined) return this.refuse(key, CROWDED);
    this.attacher.setBinary(index, binary.offsets);
    const link = this.attacher.attachUprobes({ path: readPath, ...sitesOf(binary, index), pid });
    const executable = { path, index, goVersion: binary.goVersion, link, unwantedScans: 0 };
    this.attached.set(key, executable);
    this.paths[index] = path;
    return executable;
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

function sitesOf(binary: GoBinary, index: number): Pick<UprobeSites, 'offsets' | 'cookies'> {
  return {
    offsets: binary.sites.map(({ fileOffset }) => fileOffset),
    cookies: binary.sites.map(({ hook, guarded }) =>
      BigInt(HOOKS[hook] | (index << 8) | (guarded ? GUARDED : 0)),
    ),
  };
}

function isPassing(error: unknown): boolean {
  const { code, cause } = error as NodeJS.ErrnoException;
  return PASSING.has(code ?? (cause as NodeJS.ErrnoException | undefined)?.code ?? '');
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof GoBinaryError)
    return {
      reason: error.message,
      notGo: ['not_elf', 'not_amd64', 'not_go', 'no_net_http'].includes(error.reason),
    };
  if (error instanceof BpfError) return { reason: error.message, notGo: false };
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') return { reason: 'not readable: run as root', notGo: false };
  if (code === 'ENOENT' || code === 'ESRCH') return { reason: 'no such file or process', notGo: false };
  return { reason: message, notGo: false };
}
