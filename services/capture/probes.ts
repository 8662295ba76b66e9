// The BPF object, loaded: maps by name, the uprobe program, and the socket hooks of the chosen backend.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FlowtagError } from '../runtime/errors.ts';
import { INSTALL_ROOT } from '../runtime/install-root.ts';
import { COUNTER, FINGERPRINT, GO_BINARY, SETTINGS, TARGET } from './bpf/layout.gen.ts';
import { fingerprintOf, layoutOf } from './bpf/layout.ts';
import { firstEventId } from './clock.ts';
import type { GoOffsets } from './go/offsets.ts';
import {
  BpfError,
  type BpfLink,
  type BpfMap,
  BpfObject,
  type BpfProgram,
  type UprobeSites,
} from './libbpf.ts';
import { cgroup2Path } from './proc.ts';

/** Where the build puts it. */
export const BPF_OBJECT = join(INSTALL_ROOT, 'build', 'flowtag.bpf.o');

export interface ProbesOptions {
  readonly objectPath: string;
  readonly ringBytes: number;
  readonly captureQuery: boolean;
  readonly maxContexts: number;
  /** auto: one uprobe_multi link per executable where the kernel has them, else perf events. */
  readonly uprobes: 'auto' | 'multi' | 'perf';
}

/** Socket side of a kernel: which hooks give connect events there. */
interface SocketBackend {
  readonly name: string;
  attach(object: BpfObject): Promise<BpfLink[]>;
}

const SOCKOPS: SocketBackend = {
  name: 'sockops',
  attach: async (object) => {
    const path = await cgroup2Path();
    if (!path)
      throw new FlowtagError(
        'NO_CGROUP2',
        'no cgroup v2 hierarchy is mounted, which the sockops backend needs; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified',
        { exitCode: 3 },
      );
    return [object.program('on_sockops').attachCgroup(path)];
  },
};

export class Probes {
  readonly backend = SOCKOPS.name;
  readonly uprobes: 'multi' | 'perf';
  readonly ring: BpfMap;
  readonly shared: BpfMap;
  private readonly object: BpfObject;
  private readonly uprobe: BpfProgram;
  private readonly links: BpfLink[] = [];

  private constructor(object: BpfObject, uprobes: 'multi' | 'perf') {
    this.object = object;
    this.uprobes = uprobes;
    this.uprobe = object.program('on_uprobe');
    this.ring = object.map('ring');
    this.shared = object.map('.data.shared');
  }

  /** Loads the object and attaches the socket hooks; no request is tracked before `attachUprobes`. */
  static async load(options: ProbesOptions): Promise<Probes> {
    const bytes = await readObject(options.objectPath);
    const object = openAndLoad(bytes, options);
    try {
      const multi = options.uprobes === 'multi' || (options.uprobes === 'auto' && hasMulti(object));
      const probes = new Probes(object, multi ? 'multi' : 'perf');
      for (const hook of ['on_process_exit', 'on_process_exec'])
        probes.links.push(object.program(hook).attach());
      probes.links.push(...(await SOCKOPS.attach(object)));
      return probes;
    } catch (error) {
      object.close();
      throw asProbeError(error);
    }
  }

  attachUprobes(sites: UprobeSites): BpfLink {
    return this.uprobes === 'multi' ? this.uprobe.attachUprobeMulti(sites) : this.uprobe.attachUprobes(sites);
  }

  setBinary(index: number, offsets: GoOffsets): void {
    const value = Buffer.alloc(GO_BINARY.size);
    value.writeUInt32LE(offsets.goid, GO_BINARY.goid);
    value.writeUInt32LE(offsets.parentGoid, GO_BINARY.parent_goid);
    value.writeUInt32LE(offsets.curg, GO_BINARY.curg);
    value.writeInt32LE(offsets.tlsG, GO_BINARY.tls_g);
    value.writeUInt32LE(offsets.urlPath, GO_BINARY.url_path);
    value.writeUInt32LE(offsets.urlRawQuery, GO_BINARY.url_raw_query);
    value.writeUInt32LE(offsets.responseStatus, GO_BINARY.response_status);
    value.writeUInt32LE(offsets.headerMap === 'swiss' ? 1 : 0, GO_BINARY.swiss_map);
    this.object.map('binaries').update(u32(index), value);
  }

  /** The socket hooks report this process from now on, if they do not already. */
  addTarget(pid: number, binary: number): void {
    const value = Buffer.alloc(TARGET.size);
    value.writeUInt32LE(binary, TARGET.binary);
    this.object.map('targets').insert(u32(pid), value);
  }

  removeTarget(pid: number): void {
    this.object.map('targets').delete(u32(pid));
  }

  /** Cumulative counters by their name in bpf/events.h. */
  counters(): Record<keyof typeof COUNTER, number> {
    const map = this.object.map('counters');
    const entries = Object.entries(COUNTER).filter(([name]) => name !== 'COUNTERS');
    return Object.fromEntries(entries.map(([name, index]) => [name, map.sum(index)])) as ReturnType<
      Probes['counters']
    >;
  }

  /** Detaches the socket hooks and drops the programs. Uprobe links are the caller's to detach first. */
  async close(): Promise<void> {
    for (const link of this.links.splice(0).reverse()) await link.detach();
    this.object.close();
  }
}

async function readObject(path: string): Promise<Buffer> {
  const bytes = await readFile(path).catch((cause) => {
    throw new FlowtagError('NO_BPF_OBJECT', `${path} cannot be read; build it: npm run build`, { cause });
  });
  if (fingerprintOf(layoutOf(bytes)) !== FINGERPRINT)
    throw new FlowtagError(
      'BPF_LAYOUT',
      `${path} was built from other headers than this program; rebuild both: npm run build`,
    );
  return bytes;
}

function openAndLoad(bytes: Buffer, options: ProbesOptions): BpfObject {
  let object: BpfObject | undefined;
  try {
    object = new BpfObject(bytes);
    const settings = object.map('.rodata.settings').initialValue();
    settings.writeBigUInt64LE(firstEventId(), SETTINGS.first_id);
    settings.writeUInt32LE(options.captureQuery ? 1 : 0, SETTINGS.capture_query);
    object.map('ring').setMaxEntries(options.ringBytes);
    object.map('contexts').setMaxEntries(options.maxContexts);
    // An older kernel ignores this; the program then attaches through perf events.
    if (options.uprobes !== 'perf') object.program('on_uprobe').expectUprobeMulti();
    object.load();
    return object;
  } catch (error) {
    object?.close();
    throw asProbeError(error);
  }
}

function hasMulti(object: BpfObject): boolean {
  return object.program('on_uprobe').kernelHasUprobeMulti();
}

/** Says what to do about the two refusals that users meet: missing rights and a kernel without BTF. */
export function asProbeError(error: unknown): unknown {
  if (!(error instanceof BpfError)) return error;
  const refused = error.code === 'EPERM' || error.code === 'EACCES';
  const noBtf = error.log.some((line) => /kernel BTF|vmlinux BTF|valid kernel BTF/i.test(line));
  if (noBtf)
    return new FlowtagError(
      'NO_BTF',
      'this kernel has no BTF (/sys/kernel/btf/vmlinux); use one built with CONFIG_DEBUG_INFO_BTF=y',
      {
        cause: error,
        exitCode: 3,
      },
    );
  if (refused)
    return new FlowtagError('NOT_PERMITTED', `${error.operation}: not permitted; run as root`, {
      cause: error,
      exitCode: 3,
    });
  return new FlowtagError('PROBE_LOAD', error.message, { cause: error, exitCode: 3 });
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
