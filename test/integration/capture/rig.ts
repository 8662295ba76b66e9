// A hub, a link to it that can be cut, and simulated hosts as processes of their own beyond the link.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeEvents, type EventBatch, REQUEST_START } from '../../../schemas/events.ts';
import type { Bus } from '../../../services/runtime/bus.ts';
import type { HostEnd, HostOptions } from '../../fleet/host.ts';
import { Program } from '../../fleet/program.ts';
import { hex } from '../../fleet/story.ts';
import { type HostTruth, readTruth, rowKey, truthPath } from '../../fleet/truth.ts';
import { type Link, openLink } from '../../support/link.ts';
import { quiet, startBus, until } from '../runtime/support.ts';

const SIMULATOR = join(import.meta.dirname, '../../fleet/host.ts');
export const HOST = 'node-a';

export interface HostProcess {
  log(): string;
  /** In order, waiting for acknowledgements no longer than `flushMs`. */
  stop(): Promise<HostEnd>;
  kill9(): Promise<void>;
}

export class Rig {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'flowtag-spool-'));
  readonly bus: Bus;
  readonly link: Link;
  private readonly closeBus: () => Promise<void>;
  private readonly programs: Program[] = [];

  static async open(): Promise<Rig> {
    const { server, bus, close } = await startBus();
    return new Rig(bus, close, await openLink(server.port));
  }

  private constructor(bus: Bus, closeBus: () => Promise<void>, link: Link) {
    this.bus = bus;
    this.closeBus = closeBus;
    this.link = link;
  }

  /** Publishing, beyond the link. */
  async host(options: Partial<HostOptions> = {}): Promise<HostProcess> {
    const run = this.programs.length + 1;
    const program = new Program(`run ${run}`, ['--import', 'tsx', SIMULATOR]);
    this.programs.push(program);
    await program.nextLine();
    const server = `nats://127.0.0.1:${this.link.port}`;
    const pace = { drainMs: 10, spoolBytes: 64 << 20, flushMs: 5_000 };
    await program.ask(JSON.stringify({ server, host: HOST, run, dir: this.dataDir, ...pace, ...options }));
    return {
      log: () => program.log,
      stop: async () => JSON.parse(await program.ask('')),
      kill9: async () => void (await program.end('SIGKILL')),
    };
  }

  /** What hosts captured, as they wrote it down. */
  truth(): HostTruth {
    return readTruth(truthPath({ dir: this.dataDir }));
  }

  async api(verb: string, body: object = {}): Promise<{ readonly config: object }> {
    const reply = await this.bus.request(`$JS.API.${verb}`, '', Buffer.from(JSON.stringify(body)), 4_000);
    return JSON.parse(Buffer.from(reply.data).toString());
  }

  spoolBytes(): number {
    const dir = join(this.dataDir, 'spool');
    return readdirSync(dir)
      .filter((file) => file.endsWith('.v1'))
      .reduce((sum, file) => sum + statSync(join(dir, file)).size, 0);
  }

  /** Every batch in the stream, in its order. */
  async stored(): Promise<EventBatch[]> {
    const batches: EventBatch[] = [];
    const { lastSeq } = await this.bus.streamState('FLOWTAG_EV');
    const reader = this.bus.reader({
      stream: 'FLOWTAG_EV',
      filter: 'flowtag.ev.>',
      startSeq: 1,
      onMessage: ({ data }) => {
        const batch = decodeEvents(data);
        if (typeof batch === 'string') throw new Error(batch);
        batches.push(batch);
      },
      log: quiet,
    });
    await until('all batches', () => reader.lastSeq >= lastSeq);
    await reader.close();
    return batches;
  }

  async close(): Promise<void> {
    await Promise.all(this.programs.map((program) => program.end('SIGKILL')));
    this.link.close();
    await this.closeBus();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/** The rows that follow from them, as the truth names them; throws on one that is there twice. */
export function rowsOf(batches: readonly EventBatch[]): Set<string> {
  const found = new Set<string>();
  for (const batch of batches)
    for (let row = 0; row < batch.n; row++) {
      if (batch.kind === 'uprobe' && batch.rows.type[row] === REQUEST_START) continue;
      const id = batch.kind === 'kprobe' ? batch.rows.eventId : batch.rows.requestId;
      const key = rowKey(batch.kind === 'kprobe' ? 'flows' : 'requests', hex(id.number(row)));
      if (found.has(key)) throw new Error(`twice: ${key}`);
      found.add(key);
    }
  return found;
}

/** Of each run, in the order of the stream. */
export function numbersOf(batches: readonly EventBatch[]): Map<string, number[]> {
  const numbers = new Map<string, number[]>();
  for (const { ledger, seq } of batches) {
    const run = String(ledger.sinceNs);
    numbers.set(run, [...(numbers.get(run) ?? []), seq]);
  }
  return numbers;
}
