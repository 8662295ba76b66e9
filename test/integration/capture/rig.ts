// A hub, a link to it that can be cut, and simulated hosts as processes of their own beyond the link.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeEvents, type EventBatch, SOCKET_CONNECT } from '../../../schemas/events.ts';
import type { Bus } from '../../../services/runtime/bus.ts';
import { endChild } from '../../support/end-child.ts';
import { type Link, openLink } from '../../support/link.ts';
import { pathOfFlow } from '../../support/simulated-host.ts';
import type { SimulatedHostArguments } from '../../support/simulated-host-process.ts';
import { quiet, startBus, until } from '../runtime/support.ts';

const ENTRY = join(import.meta.dirname, '../../support/simulated-host-process.ts');
const ROOT = join(import.meta.dirname, '../../..');
export const HOST = 'node-a';

export interface HostProcess {
  readonly child: ChildProcess;
  log(): string;
  /** Exit code, or name of the signal. */
  end(signal: NodeJS.Signals): Promise<number | string>;
}

export class Rig {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'flowtag-spool-'));
  readonly bus: Bus;
  readonly link: Link;
  private readonly closeBus: () => Promise<void>;
  private readonly hosts: HostProcess[] = [];

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
  async host(options: Partial<SimulatedHostArguments> = {}): Promise<HostProcess> {
    const { dataDir, link } = this;
    const server = `nats://127.0.0.1:${link.port}`;
    const args = { server, host: HOST, flowsPerSecond: 2_000, seconds: 60, dataDir, ...options };
    const command = [process.execPath, '--import', 'tsx', ENTRY, JSON.stringify(args)];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], { cwd: ROOT });
    const exited = once(child, 'exit');
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk).slice(-50_000);
      });
    const one: HostProcess = {
      child,
      log: () => output,
      end: async (signal) => {
        child.kill(signal);
        await exited;
        return child.exitCode ?? child.signalCode!;
      },
    };
    this.hosts.push(one);
    await until('the host to publish', () => {
      if (child.exitCode !== null) throw new Error(output);
      return output.includes('"ready":true');
    });
    return one;
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
    await Promise.all(this.hosts.map(({ child }) => endChild(child, 0)));
    this.link.close();
    await this.closeBus();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/** Keys and paths of the connections in them, as the truth has them; throws on one that is there twice. */
export function flowsOf(batches: readonly EventBatch[]): Map<string, string> {
  const flows = new Map<string, string>();
  for (const batch of batches)
    for (let row = 0; batch.kind === 'kprobe' && row < batch.n; row++) {
      if (batch.rows.type[row] !== SOCKET_CONNECT) continue;
      const id = batch.rows.eventId.number(row);
      const key = `${batch.host} ${id}`;
      if (flows.has(key)) throw new Error(`twice: ${key}`);
      flows.set(key, pathOfFlow(batch.host, id));
    }
  return flows;
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
