// The only door to libbpf and to the few libc calls that Node lacks (mmap, clock_gettime, raw bpf(2)).
// One thread only: libbpf's print callback belongs to the environment that registered it.
import koffi from 'koffi';

type Pointer = bigint;

const libc = koffi.load('libc.so.6');
const mmap = libc.func('void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)');
const closeFd = libc.func('int close(int fd)');
const syscall = libc.func('long syscall(long nr, int cmd, void *attr, unsigned int size)');
const vsnprintf = libc.func('int vsnprintf(_Out_ void *buf, size_t n, const char *fmt, void *ap)');
const strerror = libc.func('const char *strerror(int e)');
const clockGettime = libc.func('int clock_gettime(int clock, _Out_ void *timespec)');
const printFunction = koffi.proto('int flowtag_print(int level, const char *fmt, void *ap)');

// Loaded on first use, so that a missing library is an error of ours and not of module loading.
let loaded: ReturnType<typeof declare> | undefined;

function declare() {
  const lib = koffi.load('libbpf.so.1');
  const functions = {
    version: lib.func('const char *libbpf_version_string()'),
    setPrint: lib.func('void *libbpf_set_print(flowtag_print *fn)'),
    openMem: lib.func('void *bpf_object__open_mem(const void *buf, size_t sz, void *opts)'),
    load: lib.func('int bpf_object__load(void *obj)'),
    close: lib.func('void bpf_object__close(void *obj)'),
    findProgram: lib.func('void *bpf_object__find_program_by_name(void *obj, const char *name)'),
    findMap: lib.func('void *bpf_object__find_map_by_name(void *obj, const char *name)'),
    programFd: lib.func('int bpf_program__fd(void *prog)'),
    setExpectedAttachType: lib.func('int bpf_program__set_expected_attach_type(void *prog, int type)'),
    attach: lib.func('void *bpf_program__attach(void *prog)'),
    setAutoload: lib.func('int bpf_program__set_autoload(void *prog, bool on)'),
    attachUprobe: lib.func(
      'void *bpf_program__attach_uprobe_opts(void *prog, int pid, const char *path, size_t off, const void *opts)',
    ),
    destroyLink: lib.func('int bpf_link__destroy(void *link)'),
    mapFd: lib.func('int bpf_map__fd(void *map)'),
    mapMaxEntries: lib.func('uint32_t bpf_map__max_entries(void *map)'),
    mapSetMaxEntries: lib.func('int bpf_map__set_max_entries(void *map, uint32_t n)'),
    mapValueSize: lib.func('uint32_t bpf_map__value_size(void *map)'),
    mapInitialValue: lib.func('void *bpf_map__initial_value(void *map, _Out_ size_t *size)'),
    mapLookup: lib.func('int bpf_map_lookup_elem(int fd, const void *key, void *value)'),
    mapUpdate: lib.func(
      'int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)',
    ),
    mapDelete: lib.func('int bpf_map_delete_elem(int fd, const void *key)'),
    possibleCpus: lib.func('int libbpf_num_possible_cpus()'),
  };
  // The last warnings belong to the error that follows them (a verifier log arrives as one).
  const buffer = Buffer.alloc(65_536);
  const print = koffi.register((level: number, format: string, args: Pointer) => {
    if (level > 0) return 0;
    const written = vsnprintf(buffer, buffer.length, format, args) as number;
    recentLog.push(buffer.toString('utf8', 0, Math.min(written, buffer.length - 1)).trimEnd());
    if (recentLog.length > 50) recentLog.shift();
    return written;
  }, koffi.pointer(printFunction));
  functions.setPrint(print);
  return functions;
}

let recentLog: string[] = [];

function lib(): ReturnType<typeof declare> {
  if (!loaded) {
    try {
      loaded = declare();
    } catch (error) {
      throw new BpfError('load libbpf.so.1', 'ENOENT', [
        `${(error as Error).message}; on Debian and Ubuntu: apt-get install libbpf1`,
      ]);
    }
  }
  return loaded;
}

/** What failed, errno's name, and libbpf's last warnings (the verifier's log among them). */
export class BpfError extends Error {
  readonly operation: string;
  readonly code: string;
  readonly log: readonly string[];
  constructor(operation: string, code: string, log: readonly string[]) {
    super([`${operation}: ${code}`, ...log].join('\n'));
    this.operation = operation;
    this.code = code;
    this.log = log;
  }
}

function fail(operation: string, errno: number): never {
  const log = recentLog;
  recentLog = [];
  throw new BpfError(operation, errnoName(errno), log);
}

function errnoName(errno: number): string {
  return (
    Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ??
    `${strerror(errno)} (${errno})`
  );
}

function check(operation: string, result: number): number {
  return result < 0 ? fail(operation, -result) : result;
}

function checkPointer(operation: string, pointer: Pointer | null): Pointer {
  return pointer || fail(operation, koffi.errno());
}

export function libbpfVersion(): string {
  return lib().version() as string;
}

/** CLOCK_REALTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME in ns (linux/time.h). */
export const CLOCK = { realtime: 0, monotonic: 1, boottime: 7 } as const;

export function clockNs(clock: number): bigint {
  const timespec = Buffer.alloc(16);
  clockGettime(clock, timespec);
  return timespec.readBigInt64LE(0) * 1_000_000_000n + timespec.readBigInt64LE(8);
}

export class BpfObject {
  private readonly pointer: Pointer;
  private readonly bytes: Buffer; // libbpf reads from it until load

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.pointer = checkPointer('open the BPF object', lib().openMem(bytes, bytes.length, null));
  }

  program(name: string): BpfProgram {
    return new BpfProgram(checkPointer(`find program ${name}`, lib().findProgram(this.pointer, name)), name);
  }

  map(name: string): BpfMap {
    return new BpfMap(checkPointer(`find map ${name}`, lib().findMap(this.pointer, name)), name);
  }

  load(): void {
    void this.bytes;
    check('load the BPF programs', lib().load(this.pointer));
    recentLog = [];
  }

  /** Programs and maps go when nothing refers to them: detach links first. */
  close(): void {
    lib().close(this.pointer);
  }
}

export class BpfMap {
  private readonly pointer: Pointer;
  readonly name: string;
  constructor(pointer: Pointer, name: string) {
    this.pointer = pointer;
    this.name = name;
  }

  get fd(): number {
    return lib().mapFd(this.pointer) as number;
  }
  get maxEntries(): number {
    return lib().mapMaxEntries(this.pointer) as number;
  }
  setMaxEntries(entries: number): void {
    check(`size map ${this.name}`, lib().mapSetMaxEntries(this.pointer, entries));
  }

  /** Initial contents of a data section, writable before load. */
  initialValue(): Buffer {
    const size = [0];
    const pointer = checkPointer(`read map ${this.name}`, lib().mapInitialValue(this.pointer, size));
    return Buffer.from(koffi.view(pointer, Number(size[0])));
  }

  /** Leaves an entry that is there as it is. */
  insert(key: Uint8Array, value: Uint8Array): void {
    const BPF_NOEXIST = 1;
    const result = negative(lib().mapUpdate(this.fd, key, value, BPF_NOEXIST));
    if (result !== -koffi.os.errno.EEXIST!) check(`write map ${this.name}`, result);
  }

  update(key: Uint8Array, value: Uint8Array): void {
    check(`write map ${this.name}`, negative(lib().mapUpdate(this.fd, key, value, 0)));
  }

  delete(key: Uint8Array): void {
    lib().mapDelete(this.fd, key);
  }

  /** The value, or undefined when there is no such key. */
  lookup(key: Uint8Array, valueBytes: number): Buffer | undefined {
    const value = Buffer.alloc(valueBytes);
    const result = negative(lib().mapLookup(this.fd, key, value));
    if (result === -koffi.os.errno.ENOENT!) return undefined;
    check(`read map ${this.name}`, result);
    return value;
  }

  /** Entry `index` of a per-CPU array of `width` u64s, summed over CPUs. */
  sums(index: number, width: number): number[] {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(index);
    const values = Buffer.alloc(8 * width * (lib().possibleCpus() as number));
    check(`read map ${this.name}`, negative(lib().mapLookup(this.fd, key, values)));
    const totals = new Array<number>(width).fill(0);
    for (let at = 0; at < values.length / 8; at++)
      totals[at % width]! += Number(values.readBigUInt64LE(8 * at));
    return totals;
  }

  /** Shared memory of the map (`offset` in pages); stays mapped until the process ends. */
  memory(length: number, offset: number, writable: boolean): ArrayBuffer {
    const PROT_READ = 1;
    const PROT_WRITE = 2;
    const MAP_SHARED = 1;
    const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const address = mmap(null, length, protection, MAP_SHARED, this.fd, offset) as Pointer | null;
    if (!address || BigInt.asIntN(64, address) === -1n) fail(`mmap map ${this.name}`, koffi.errno());
    return koffi.view(address, length) as ArrayBuffer;
  }
}

function negative(result: number): number {
  return result < 0 && koffi.errno() > 0 ? -koffi.errno() : result;
}

/** Attach type of a uprobe_multi link: BPF_TRACE_UPROBE_MULTI (linux/bpf.h, kernel 6.6). */
const UPROBE_MULTI = 48;
const SYS_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF_LINK_CREATE = 28;
const EBADF = 9;

export interface UprobeSites {
  readonly path: string;
  /** File offsets, not addresses. Attached in this order. */
  readonly offsets: readonly bigint[];
  readonly cookies: readonly bigint[];
  /** One process, all its threads; every process of the file when left out. */
  readonly pid?: number | undefined;
}

export interface BpfLink {
  detach(): Promise<void>;
}

export class BpfProgram {
  private readonly pointer: Pointer;
  private readonly name: string;
  constructor(pointer: Pointer, name: string) {
    this.pointer = pointer;
    this.name = name;
  }

  /** Before load: the program will be attached by uprobe_multi links. */
  expectUprobeMulti(): void {
    check(`program ${this.name}`, lib().setExpectedAttachType(this.pointer, UPROBE_MULTI));
  }

  /** Before load: leave it out, because the kernel lacks what it hooks. */
  skip(): void {
    check(`program ${this.name}`, lib().setAutoload(this.pointer, false));
  }

  attach(): BpfLink {
    return this.link(`attach ${this.name}`, lib().attach(this.pointer));
  }

  /** After load: does this kernel have uprobe_multi links? With one, a directory for a path is EBADF. */
  kernelHasUprobeMulti(): boolean {
    const fd = lib().programFd(this.pointer) as number;
    return createUprobeMultiLink(fd, { path: '/', offsets: [0n], cookies: [0n] }) === -EBADF;
  }

  /** All sites of one executable at once; libbpf has had a call for it only since 1.3, the kernel since 6.6. */
  attachUprobeMulti(sites: UprobeSites): BpfLink {
    const fd = createUprobeMultiLink(lib().programFd(this.pointer) as number, sites);
    if (fd < 0) fail(`attach ${sites.offsets.length} uprobes to ${sites.path}`, -fd);
    return {
      detach: async () => {
        closeFd(fd);
      },
    };
  }

  /** One perf event per site: for kernels before 6.6. Detaching takes ~0.1 s a site, off the main thread. */
  attachUprobes(sites: UprobeSites): BpfLink {
    const links: Pointer[] = [];
    const detach = async () => {
      for (const link of links.splice(0)) await destroyOffThread(link);
    };
    for (const [index, offset] of sites.offsets.entries()) {
      const options = Buffer.alloc(40); // struct bpf_uprobe_opts: sz, ref_ctr_offset, bpf_cookie, retprobe, func_name
      options.writeBigUInt64LE(BigInt(options.length), 0);
      options.writeBigUInt64LE(sites.cookies[index]!, 16);
      const link = lib().attachUprobe(this.pointer, sites.pid ?? -1, sites.path, Number(offset), options);
      if (link) links.push(link);
      else {
        const errno = koffi.errno();
        void detach();
        fail(`attach a uprobe to ${sites.path} at ${offset}`, errno);
      }
    }
    return { detach };
  }

  private link(operation: string, pointer: Pointer | null): BpfLink {
    let link: Pointer | null = checkPointer(operation, pointer);
    return {
      detach: async () => {
        if (link) lib().destroyLink(link);
        link = null;
      },
    };
  }
}

function createUprobeMultiLink(programFd: number, sites: UprobeSites): number {
  const path = Buffer.from(`${sites.path}\0`);
  const offsets = BigUint64Array.from(sites.offsets);
  const cookies = BigUint64Array.from(sites.cookies);
  const attr = Buffer.alloc(64); // union bpf_attr, link_create.uprobe_multi
  attr.writeInt32LE(programFd, 0);
  attr.writeUInt32LE(UPROBE_MULTI, 8);
  attr.writeBigUInt64LE(koffi.address(path) as bigint, 16);
  attr.writeBigUInt64LE(koffi.address(offsets) as bigint, 24);
  attr.writeBigUInt64LE(koffi.address(cookies) as bigint, 40);
  attr.writeUInt32LE(offsets.length, 48);
  attr.writeUInt32LE(sites.pid ?? 0, 56);
  const fd = Number(syscall(SYS_BPF, BPF_LINK_CREATE, attr, attr.length));
  return fd < 0 ? -koffi.errno() : fd;
}

function destroyOffThread(link: Pointer): Promise<void> {
  return new Promise((resolve) => {
    lib().destroyLink.async(link, () => resolve());
  });
}

/** Calls back when `fd` is readable. Keep the handle: koffi closes it when it is collected. */
export function pollReadable(fd: number, onReadable: () => void): { close(): void } {
  return koffi.node.poll(fd, { readable: true }, onReadable);
}
