// The BPF object, loaded: maps by name, the uprobe program, and the socket hooks.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FlowtagError } from '../runtime/errors.ts';
import { INSTALL_ROOT } from '../runtime/install-root.ts';
import {
  type Backend,
  type Candidate,
  candidatesFor,
  explain,
  type PassedOver,
  programsOf,
  SEND_TRACEPOINTS,
  type SendTracepoint,
  TRACEPOINT_LATER,
  unusedPrograms,
} from './backends.ts';
import {
  COUNTER,
  FINGERPRINT,
  GO_BINARY,
  HITS,
  LISTENER,
  SETTINGS,
  STACK,
  TARGET,
} from './bpf/layout.gen.ts';
import { fingerprintOf, layoutOf } from './bpf/layout.ts';
import { isFiltered, type Means, missingFrom, namesOf, neededFor, PARANOID } from './capabilities.ts';
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

/** Where the build puts it. */
export const BPF_OBJECT = join(INSTALL_ROOT, 'build', 'flowtag.bpf.o');

export interface ProbesOptions {
  readonly objectPath: string;
  readonly ringBytes: number;
  readonly captureQuery: boolean;
  readonly maxContexts: number;
  /** Channel hooks may be attached. */
  readonly channels?: boolean;
  /** auto: the first that this kernel lets us have and that sees everything. */
  readonly backend?: Backend | 'auto';
  /** auto: one uprobe_multi link per executable where the kernel has them, else perf events. */
  readonly uprobes: 'auto' | 'multi' | 'perf';
}

const BTF = '/sys/kernel/btf/vmlinux';

export class Probes {
  readonly backend: Backend;
  /** The backend, and why not another. */
  readonly explanation: string;
  /** Whether this kernel shows the uses of connections that are open already. */
  readonly seesUses: boolean;
  readonly uprobes: 'multi' | 'perf';
  readonly ring: BpfMap;
  readonly shared: BpfMap;
  private readonly object: BpfObject;
  private readonly uprobe: BpfProgram;
  private readonly links: BpfLink[] = [];

  private constructor(object: BpfObject, uprobes: 'multi' | 'perf', used: Candidate, explanation: string) {
    this.object = object;
    this.uprobes = uprobes;
    this.backend = used.backend;
    this.seesUses = used.send !== undefined;
    this.explanation = explanation;
    this.uprobe = object.program('on_uprobe');
    this.ring = object.map('ring');
    this.shared = object.map('.data.shared');
  }

  /** Loads the object and attaches the socket hooks; no request is tracked before `attachUprobes`. */
  static async load(options: ProbesOptions): Promise<Probes> {
    const bytes = await readObject(options.objectPath);
    const sends = await findSendTracepoint();
    const wanted = options.backend ?? 'auto';
    const passedOver: PassedOver[] = [];
    const problems: unknown[] = [];
    if (wanted === 'auto' && sends !== 'before')
      passedOver.push({ backend: 'tracepoint', reason: TRACEPOINT_LATER[sends] });
    for (const candidate of candidatesFor(wanted, sends))
      try {
        return Probes.try(bytes, options, candidate, passedOver);
      } catch (error) {
        const uprobes = options.uprobes === 'perf' ? 'perf' : 'multi';
        problems.push(asProbeError(error, { backend: candidate.backend, uprobes }));
        const [reason] = (error as Error).message.split('\n');
        passedOver.push({ backend: candidate.backend, reason: reason! });
      }
    throw problems[0];
  }

  private static try(
    bytes: Buffer,
    options: ProbesOptions,
    candidate: Candidate,
    passedOver: readonly PassedOver[],
  ): Probes {
    const object = openAndLoad(bytes, options, candidate);
    try {
      const multi = options.uprobes === 'multi' || (options.uprobes === 'auto' && hasMulti(object));
      const others = passedOver.filter(({ backend }) => backend !== candidate.backend);
      const explanation = explain(candidate.backend, others);
      const probes = new Probes(object, multi ? 'multi' : 'perf', candidate, explanation);
      const hooks = ['on_process_exit', 'on_process_exec', ...programsOf(candidate)];
      for (const hook of hooks) probes.links.push(object.program(hook).attach());
      return probes;
    } catch (error) {
      object.close();
      throw error;
    }
  }

  attachUprobes(sites: UprobeSites): BpfLink {
    const { uprobe, uprobes, backend } = this;
    try {
      return uprobes === 'multi' ? uprobe.attachUprobeMulti(sites) : uprobe.attachUprobes(sites);
    } catch (error) {
      throw notPermitted(error, { backend, uprobes }) ?? error;
    }
  }

  /** `instrumented` false: its uprobes are off, what is left of its contexts is stale. */
  setBinary(index: number, offsets: GoOffsets, instrumented = true): void {
    const value = Buffer.alloc(GO_BINARY.size);
    value.writeUInt32LE(offsets.goid, GO_BINARY.goid);
    value.writeUInt32LE(offsets.curg, GO_BINARY.curg);
    value.writeInt32LE(offsets.tlsG, GO_BINARY.tls_g);
    value.writeUInt32LE(offsets.urlPath, GO_BINARY.url_path);
    value.writeUInt32LE(offsets.urlRawQuery, GO_BINARY.url_raw_query);
    value.writeUInt32LE(offsets.responseStatus, GO_BINARY.response_status);
    value.writeUInt32LE(offsets.maxConnsPerHost, GO_BINARY.max_conns_per_host);
    value.writeUInt32LE(offsets.headerMap === 'swiss' ? 1 : 0, GO_BINARY.swiss_map);
    value.writeUInt32LE(offsets.hchanElemtype, GO_BINARY.hchan_elemtype);
    value.writeUInt32LE(offsets.sudogIsSelect, GO_BINARY.sudog_is_select);
    value.writeUInt32LE(offsets.schedBp, GO_BINARY.sched_bp);
    value.writeUInt32LE(instrumented ? 0 : 1, GO_BINARY.not_instrumented);
    this.object.map('binaries').update(u32(index), value);
  }

  /** Hits of each hook of an executable since load, by the hook's number. */
  hits(index: number): number[] {
    return this.object.map('hits').sums(index, HITS.size / 8);
  }

  /** A call stack that an event named, unless it was pushed out. Offsets: into the code segment, innermost first. */
  stack(id: number): { parent: number; offsets: Uint32Array } | undefined {
    const value = this.object.map('stacks').lookup(u64(id), STACK.size);
    if (value === undefined) return undefined;
    const offsets = new Uint32Array(value.readUInt32LE(STACK.count));
    for (let i = 0; i < offsets.length; i++) offsets[i] = value.readUInt32LE(STACK.offsets + 4 * i);
    return { parent: Number(value.readBigUInt64LE(STACK.parent)), offsets };
  }

  /** Connections with this local port are inbound. Port 0: all ports listened on in that namespace were added. */
  addListener(netns: number, port: number): void {
    const key = Buffer.alloc(LISTENER.size);
    key.writeUInt32LE(netns, LISTENER.netns);
    key.writeUInt16LE(port, LISTENER.port);
    this.object.map('listeners').insert(key, Buffer.of(1));
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
    return Object.fromEntries(entries.map(([name, index]) => [name, map.sums(index, 1)[0]!])) as ReturnType<
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

function openAndLoad(bytes: Buffer, options: ProbesOptions, candidate: Candidate): BpfObject {
  let object: BpfObject | undefined;
  try {
    object = new BpfObject(bytes);
    const settings = object.map('.rodata.settings').initialValue();
    settings.writeBigUInt64LE(firstEventId(), SETTINGS.first_id);
    settings.writeUInt32LE(options.captureQuery ? 1 : 0, SETTINGS.capture_query);
    object.map('ring').setMaxEntries(options.ringBytes);
    object.map('contexts').setMaxEntries(options.maxContexts);
    if (!options.channels) object.map('channel_slots').setMaxEntries(1);
    // An older kernel ignores this; the program then attaches through perf events.
    if (options.uprobes !== 'perf') object.program('on_uprobe').expectUprobeMulti();
    if (candidate.backend !== 'kprobe') object.map('connections_by_address').setMaxEntries(1);
    for (const name of unusedPrograms(candidate)) object.program(name).skip();
    object.load();
    return object;
  } catch (error) {
    object?.close();
    throw error;
  }
}

/** A tracepoint's type is in the kernel's BTF under this name. */
async function findSendTracepoint(): Promise<SendTracepoint> {
  const btf = await readFile(BTF).catch(() => Buffer.alloc(0)); // loading will say what is wrong
  const has = (name: string): boolean => btf.includes(`\0btf_trace_${name}\0`);
  if (has(SEND_TRACEPOINTS.before)) return 'before';
  return has(SEND_TRACEPOINTS.after) ? 'after' : 'none';
}

function hasMulti(object: BpfObject): boolean {
  return object.program('on_uprobe').kernelHasUprobeMulti();
}

/** Says what to do about the refusals that users meet: missing rights, filters, and a kernel without BTF. */
function asProbeError(error: unknown, means: Means): unknown {
  if (!(error instanceof BpfError)) return error;
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
  return (
    notPermitted(error, means) ?? new FlowtagError('PROBE_LOAD', error.message, { cause: error, exitCode: 3 })
  );
}

/** Undefined when it is no refusal, or nothing is known that explains it. */
function notPermitted(error: unknown, means: Means): FlowtagError | undefined {
  if (!(error instanceof BpfError) || !['EPERM', 'EACCES'].includes(error.code)) return undefined;
  const status = readFileSync('/proc/self/status', 'latin1');
  const missing = missingFrom(status, neededFor(means, Number(readFileSync(PARANOID, 'latin1'))));
  const options = { cause: error, exitCode: 3 };
  if (missing.length > 0)
    return new FlowtagError(
      'NOT_PERMITTED',
      `${error.operation}: not permitted; run as root or with ${namesOf(missing)}`,
      options,
    );
  if (isFiltered(status))
    return new FlowtagError(
      'SECCOMP',
      `${error.operation}: not permitted, though no capability is missing: a seccomp filter is in force`,
      options,
    );
  return undefined;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
