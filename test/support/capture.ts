// Capture without a bus: real probes in this process, and the batches that it would publish, decoded.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  decodeEvents,
  REQUEST_END,
  REQUEST_START,
  SOCKET_CONNECT,
  SOCKET_USE,
} from '../../schemas/events.ts';
import type { Backend } from '../../services/capture/backends.ts';
import { Callers } from '../../services/capture/callers.ts';
import { Drain } from '../../services/capture/drain.ts';
import { type Executable, Executables, fileKey, isRefusal } from '../../services/capture/executables.ts';
import { Listeners } from '../../services/capture/listeners.ts';
import { BPF_OBJECT, Probes } from '../../services/capture/probes.ts';

export interface CaptureOptions {
  readonly uprobes?: 'auto' | 'multi' | 'perf';
  readonly backend?: Backend | 'auto';
  readonly ringBytes?: number;
  readonly captureQuery?: boolean;
  readonly maxHits?: number;
  readonly maxContexts?: number;
  /** Follow jobs through channels. */
  readonly channels?: boolean;
  /** Read the ring only when told to. */
  readonly held?: boolean;
}

export interface RequestRow {
  readonly id: number;
  readonly pid: number;
  readonly timeNs: bigint;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly host: string;
  readonly client: string;
  readonly traceId: string;
  readonly flags: number;
}

export interface SocketRow {
  readonly requestId: number;
  readonly pid: number;
  readonly timeNs: bigint;
  readonly local: string;
  readonly peer: string;
  readonly family: number;
  readonly netns: number;
  readonly via: number;
  readonly depth: number;
  readonly flags: number;
  readonly errno: number;
  readonly durationNs: number;
  readonly connection: bigint;
  readonly goid: number;
  readonly function: string;
  readonly handler: string;
  readonly stacktrace: string;
}

export class Capture {
  readonly starts: RequestRow[] = [];
  readonly ends: { id: number; status: number }[] = [];
  readonly connects: SocketRow[] = [];
  readonly uses: SocketRow[] = [];
  readonly closes: SocketRow[] = [];
  readonly probes: Probes;
  readonly executables: Executables;
  private readonly listeners: Listeners;
  private readonly channels: boolean;
  private drain: Drain | undefined;

  static async open(options: CaptureOptions = {}): Promise<Capture> {
    const probes = await Probes.load({
      objectPath: BPF_OBJECT,
      ringBytes: options.ringBytes ?? 1 << 20,
      captureQuery: options.captureQuery ?? false,
      maxContexts: options.maxContexts ?? 1_024,
      uprobes: options.uprobes ?? 'auto',
      backend: options.backend ?? 'auto',
      channels: options.channels ?? false,
    });
    const capture = new Capture(probes, options);
    if (!options.held) capture.read();
    return capture;
  }

  private constructor(probes: Probes, { maxHits = 1_000_000, channels = false }: CaptureOptions) {
    this.channels = channels;
    this.probes = probes;
    this.executables = new Executables(probes, { allowUnknownGo: false, maxHitsPerSecond: maxHits });
    this.listeners = new Listeners((netns, port) => probes.addListener(netns, port));
  }

  async attach(path: string, pid?: number): Promise<Executable> {
    const readPath = pid === undefined ? path : `/proc/${pid}/exe`;
    const result = await this.executables.ensure(`${await fileKey(readPath)}:${pid}`, {
      path,
      readPath,
      pid,
      channels: this.channels,
    });
    if (isRefusal(result)) throw new Error(result.reason);
    if (pid !== undefined) this.target(pid, result);
    return result;
  }

  /** As discovery does for a process that it finds. */
  target(pid: number, { index }: Executable): void {
    this.listeners.learn(pid);
    this.probes.addTarget(pid, index);
  }

  /** Begins to read the ring. */
  read(): void {
    const callers = new Callers({
      stack: (id) => this.probes.stack(id),
      symbolsOf: (binary) => this.executables.symbolsOf(binary),
      withStacks: true,
    });
    this.drain = new Drain({
      probes: this.probes,
      publish: ({ data }) => this.accept(data),
      undelivered: () => ({}),
      host: 'test',
      boot: 'boot',
      sinceNs: 1n,
      tickMs: 2,
      executablePath: (binary) => this.executables.pathOf(binary),
      callerOf: (binary, stack) => callers.get(binary, stack),
    });
  }

  /** Waits until `seen` holds, at most 5 s. */
  async until(seen: () => boolean): Promise<void> {
    const deadline = performance.now() + 5_000;
    while (!seen() && performance.now() < deadline) await sleep(10);
  }

  ledger(): ReturnType<Drain['ledger']> {
    return this.drain!.ledger();
  }

  /** Detaches, and reads what is left. */
  async close(): Promise<void> {
    await this.executables.detach();
    this.drain?.close();
    await this.executables.close();
    await this.probes.close();
  }

  private socketRows(type: number): SocketRow[] {
    if (type === SOCKET_CONNECT) return this.connects;
    return type === SOCKET_USE ? this.uses : this.closes;
  }

  private accept(data: Uint8Array): void {
    const batch = decodeEvents(data);
    if (typeof batch === 'string') throw new Error(batch);
    for (let row = 0; row < batch.n; row++) {
      const pid = batch.process['process.pid'][batch.rows.process[row]!]!;
      const timeNs = batch.rows.timeNs.bigint(row);
      if (batch.kind === 'kprobe') {
        const c = batch.rows;
        const caller = c.caller[row]! - 1;
        const text = (name: 'code.function.name' | 'code.stacktrace' | 'flowtag.request.handler') =>
          caller < 0 ? '' : batch.caller[name].get(caller);
        this.socketRows(c.type[row]!).push({
          requestId: c.requestId.number(row),
          pid,
          timeNs,
          local: ends(c.family[row]!, c.localAddress.get(row), c.localPort[row]!),
          peer: ends(c.family[row]!, c.peerAddress.get(row), c.peerPort[row]!),
          family: c.family[row]!,
          netns: c.netns[row]!,
          via: c.via[row]!,
          depth: c.depth[row]!,
          flags: c.flags[row]!,
          errno: c.errno[row]!,
          durationNs: c.durationNs.number(row),
          connection: c.connectionId.bigint(row),
          goid: c.goid.number(row),
          function: text('code.function.name'),
          handler: text('flowtag.request.handler'),
          stacktrace: text('code.stacktrace'),
        });
      } else if (batch.rows.type[row] === REQUEST_START) {
        const c = batch.rows;
        this.starts.push({
          id: c.requestId.number(row),
          pid,
          timeNs,
          method: c.method.get(row),
          path: c.path.get(row),
          query: c.query.get(row),
          host: c.serverAddress.get(row),
          client: `${c.clientAddress.get(row)}:${c.clientPort[row]}`,
          traceId: c.traceId.get(row),
          flags: c.flags[row]!,
        });
      } else if (batch.rows.type[row] === REQUEST_END)
        this.ends.push({ id: batch.rows.requestId.number(row), status: batch.rows.status[row]! });
    }
  }
}

function ends(family: number, address: string, port: number): string {
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}
