// A server with the streams, correlators as processes of their own, and a reader of what they publish.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { decodeRows, FLOW_FIELDS, FLOW_SCHEMA, REQUEST_FIELDS } from '../../../schemas/rows.ts';
import { type Bus, type BusMessage, connectBus, type Reader } from '../../../services/runtime/bus.ts';
import { provisionStreams } from '../../../services/runtime/bus-streams.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { WINDOW_MS } from './fleet.ts';

const ENTRY = join(import.meta.dirname, 'correlator.ts');
const LIMITS = { eventBytes: 256 << 20, eventAgeMs: 3_600_000, flowBytes: 256 << 20, flowAgeMs: 3_600_000 };
export const quiet = pino({ level: 'silent' });

export interface Running {
  readonly child: ChildProcess;
  log(): string;
  /** Exit code, or name of the signal. */
  end(signal: NodeJS.Signals): Promise<number | string>;
  exit(): Promise<number | string>;
}

export class Rig {
  readonly server: NatsServer;
  readonly bus: Bus;
  private readonly running: Running[] = [];

  static async open(): Promise<Rig> {
    const server = await startNatsServer();
    const bus = await connectBus({ server: server.url, name: 'test', log: quiet });
    return new Rig(server, bus);
  }

  constructor(server: NatsServer, bus: Bus) {
    this.server = server;
    this.bus = bus;
  }

  async provision(): Promise<void> {
    await provisionStreams(this.bus, LIMITS);
    // The server must not hide what is published twice: the tests are to see it.
    await this.api('STREAM.UPDATE.FLOWTAG_FLOW', {
      ...(await this.api('STREAM.INFO.FLOWTAG_FLOW')).config,
      duplicate_window: 100_000_000,
    });
  }

  async api(verb: string, body: object = {}): Promise<{ config?: object; error?: unknown }> {
    const reply = await this.bus.request(`$JS.API.${verb}`, '', Buffer.from(JSON.stringify(body)), 4_000);
    return JSON.parse(Buffer.from(reply.data).toString());
  }

  correlator(): Running {
    const options = ['--server', this.server.url, '--window-ms', String(WINDOW_MS), '--host', 'rig'];
    const command = ['--pdeathsig', 'KILL', '--', process.execPath, '--import', 'tsx', ENTRY, ...options];
    const cwd = join(import.meta.dirname, '../../..');
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'], cwd });
    const exited = once(child, 'exit');
    let output = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      output = (output + chunk).slice(-50_000);
    });
    const exit = async () => {
      await exited;
      return child.exitCode ?? child.signalCode!;
    };
    const one: Running = {
      child,
      log: () => output,
      exit,
      end: (signal) => {
        child.kill(signal);
        return exit();
      },
    };
    this.running.push(one);
    return one;
  }

  async close(): Promise<void> {
    await Promise.all(this.running.map((one) => one.end('SIGKILL')));
    await this.bus.close();
    await this.server.stop();
  }
}

/** What came out, as a consumer sees it that looks at the ids. */
export class Output {
  /** Flow id and host, to path or reason. */
  readonly flows = new Map<string, string>();
  readonly requests = new Map<string, number>();
  /** Rows that came again in a message that said they might. */
  repeated = 0;
  /** Rows that came again without a word. */
  readonly surprises: string[] = [];
  readonly reader: Reader;
  private readonly seen = new Set<string>();

  constructor(bus: Bus) {
    this.reader = bus.reader({
      stream: 'FLOWTAG_FLOW',
      filter: '>',
      startSeq: 1,
      onMessage: (message) => this.accept(message),
      log: quiet,
    });
  }

  private accept(message: BusMessage): void {
    const replay = message.header('Flowtag-Replay') === '1';
    if (message.schema === FLOW_SCHEMA) {
      for (const row of rowsOf(FLOW_FIELDS, message.data)) {
        const event = Number.parseInt(row['flowtag.flow.id']!.slice(16), 16);
        const key = `${row['host.name']} ${event}`;
        if (this.isNew(key, replay))
          this.flows.set(key, row['url.path'] ?? row['flowtag.attribution.reason']!);
      }
      return;
    }
    for (const row of rowsOf(REQUEST_FIELDS, message.data))
      if (this.isNew(`request ${row['url.path']}`, replay))
        this.requests.set(row['url.path']!, row['flowtag.request.flows']!);
  }

  private isNew(key: string, replay: boolean): boolean {
    if (!this.seen.has(key)) {
      this.seen.add(key);
      return true;
    }
    if (replay) this.repeated++;
    else this.surprises.push(key);
    return false;
  }
}

function rowsOf<F extends typeof FLOW_FIELDS | typeof REQUEST_FIELDS>(fields: F, data: Uint8Array) {
  const rows = decodeRows(fields, data);
  if (typeof rows === 'string') throw new Error(rows);
  return rows;
}

export async function until(what: string, holds: () => boolean, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}
