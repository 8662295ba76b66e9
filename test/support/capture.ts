// Capture without a bus: real probes in this process, and the batches that it would publish, decoded.
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeEvents, REQUEST_END, REQUEST_START } from '../../schemas/events.ts';
import { Drain } from '../../services/capture/drain.ts';
import { type Executable, Executables, fileKey, isRefusal } from '../../services/capture/executables.ts';
import { BPF_OBJECT, Probes } from '../../services/capture/probes.ts';
import type { Publisher } from '../../services/runtime/bus.ts';

export interface CaptureOptions {
  readonly uprobes?: 'auto' | 'multi' | 'perf';
  readonly ringBytes?: number;
  readonly captureQuery?: boolean;
  readonly maxContexts?: number;
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

export interface ConnectRow {
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
}

export class Capture {
  readonly starts: RequestRow[] = [];
  readonly ends: { id: number; status: number }[] = [];
  readonly connects: ConnectRow[] = [];
  readonly probes: Probes;
  readonly executables: Executables;
  private drain: Drain | undefined;

  static async open(options: CaptureOptions = {}): Promise<Capture> {
    const probes = await Probes.load({
      objectPath: BPF_OBJECT,
      ringBytes: options.ringBytes ?? 1 << 20,
      captureQuery: options.captureQuery ?? false,
      maxContexts: options.maxContexts ?? 1_024,
      uprobes: options.uprobes ?? 'auto',
    });
    const capture = new Capture(probes);
    if (!options.held) capture.read();
    return capture;
  }

  private constructor(probes: Probes) {
    this.probes = probes;
    this.executables = new Executables(probes, false);
  }

  async attach(path: string, pid?: number): Promise<Executable> {
    const readPath = pid === undefined ? path : `/proc/${pid}/exe`;
    const result = await this.executables.ensure(`${await fileKey(readPath)}:${pid}`, {
      path,
      readPath,
      pid,
    });
    if (isRefusal(result)) throw new Error(result.reason);
    return result;
  }

  /** Begins to read the ring. */
  read(): void {
    const publisher = {
      publish: ({ data }: { data: Uint8Array }) => this.accept(data),
    } as Partial<Publisher>;
    this.drain = new Drain({
      probes: this.probes,
      publisher: publisher as Publisher,
      queueDroppedRows: { uprobe: 0, kprobe: 0 },
      host: 'test',
      boot: 'boot',
      sinceNs: 1n,
      tickMs: 2,
      executablePath: (binary) => this.executables.pathOf(binary),
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
    await this.executables.close();
    this.drain?.close();
    await this.probes.close();
  }

  private accept(data: Uint8Array): void {
    const batch = decodeEvents(data);
    if (typeof batch === 'string') throw new Error(batch);
    for (let row = 0; row < batch.n; row++) {
      const pid = batch.process['process.pid'][batch.rows.process[row]!]!;
      const timeNs = batch.rows.timeNs.bigint(row);
      if (batch.kind === 'kprobe') {
        const c = batch.rows;
        this.connects.push({
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
