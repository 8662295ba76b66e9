// A server with the streams, correlators as processes of their own, and a reader of what they publish.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { LEDGER_FIELDS, LEDGER_SCHEMA } from '../../../schemas/ledger.ts';
import { decodeRows, FLOW_FIELDS, FLOW_SCHEMA, REQUEST_FIELDS, type RowOf } from '../../../schemas/rows.ts';
import { FLOW_SUBJECTS } from '../../../schemas/subjects.ts';
import { correlatorOptions, streamLimits } from '../../../services/correlator/config.ts';
import { type Bus, type BusMessage, connectBus, type Reader } from '../../../services/runtime/bus.ts';
import { provisionStreams } from '../../../services/runtime/bus-streams.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { WINDOW_MS } from './fleet.ts';

const ENTRY = join(import.meta.dirname, 'correlator.ts');
export const quiet = pino({ level: 'silent' });

export interface Running {
  readonly child: ChildProcess;
  log(): string;
  /** Partitions that it owns, by its log. */
  owned(): Set<number>;
  /** Exit code, or name of the signal. */
  end(signal: NodeJS.Signals): Promise<number | string>;
  exit(): Promise<number | string>;
}

interface Answer {
  readonly config?: object;
  readonly cluster?: { readonly leader?: string };
  readonly error?: unknown;
}

/** One, or several together. */
type Server = Pick<NatsServer, 'url' | 'stop'>;

export class Rig<S extends Server = NatsServer> {
  readonly server: S;
  readonly bus: Bus;
  private readonly running: Running[] = [];

  static async open(): Promise<Rig> {
    return Rig.on(await startNatsServer());
  }

  static async on<S extends Server>(server: S): Promise<Rig<S>> {
    return new Rig(server, await connectBus({ server: server.url, name: 'test', log: quiet }));
  }

  constructor(server: S, bus: Bus) {
    this.server = server;
    this.bus = bus;
  }

  /** The streams as the correlator would make them, so that a test can publish before it starts. */
  provision(replicas = 1): Promise<void> {
    return provisionStreams(this.bus, streamLimits(correlatorOptions.parse({ replicas })));
  }

  async api(verb: string, body: object = {}): Promise<Answer> {
    const reply = await this.bus.request(`$JS.API.${verb}`, '', Buffer.from(JSON.stringify(body)), 4_000);
    return JSON.parse(Buffer.from(reply.data).toString());
  }

  correlator(...more: readonly string[]): Running {
    return this.start([], more);
  }

  /** As on another machine: nobody here can see whether it lives. Takes no signal but SIGKILL. */
  remoteCorrelator(): Running {
    return this.start(['unshare', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL', '--'], []);
  }

  private start(wrapper: readonly string[], more: readonly string[]): Running {
    const options = ['--server', this.server.url, '--window-ms', String(WINDOW_MS), '--host', 'rig', ...more];
    const command = [
      '--pdeathsig',
      'KILL',
      '--',
      ...wrapper,
      process.execPath,
      '--import',
      'tsx',
      ENTRY,
      ...options,
    ];
    const cwd = join(import.meta.dirname, '../../..');
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'], cwd });
    const exited = once(child, 'exit');
    let output = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      output = (output + chunk).slice(-200_000);
    });
    const exit = async () => {
      await exited;
      return child.exitCode ?? child.signalCode!;
    };
    const one: Running = {
      child,
      log: () => output,
      owned: () => ownedBy(output),
      exit,
      end: (signal) => {
        child.kill(signal);
        return exit();
      },
    };
    this.running.push(one);
    return one;
  }

  /** A server that is slow to acknowledge gets messages a second time, from the same publisher. */
  get sentAgain(): boolean {
    return this.running.some((one) => one.log().includes('publishing again what is unacknowledged'));
  }

  async close(): Promise<void> {
    await Promise.all(this.running.map((one) => one.end('SIGKILL')));
    await this.bus.close();
    await this.server.stop();
  }
}

function ownedBy(log: string): Set<number> {
  const owned = new Set<number>();
  for (const [, partition, what] of log.matchAll(
    /"partition":(\d+),.*"msg":"partition (taken over|given back|lost)/g,
  ))
    owned[what === 'taken over' ? 'add' : 'delete'](Number(partition));
  return owned;
}

/** What came out: in the stream, and on the wire before the server drops repeats. */
export class Output {
  /** Of the stream. Host and event id, to path or reason. */
  readonly flows = new Map<string, string>();
  /** Of the stream. Path to number of flows. */
  readonly requests = new Map<string, number>();
  /** Of the stream. */
  readonly ledger = new Set<string>();
  /** Rows that are in the stream twice. */
  readonly storedTwice: string[] = [];
  /** Rows that were published again in a message that says so, and in one that does not. */
  readonly publishedAgain = { flagged: 0, unflagged: 0 };
  readonly reader: Reader;
  private readonly published = new Set<string>();

  constructor(bus: Bus) {
    this.reader = bus.reader({
      stream: 'FLOWTAG_FLOW',
      filter: '>',
      startSeq: 1,
      onMessage: (message) => this.onStored(message),
      log: quiet,
    });
    for (const subjects of FLOW_SUBJECTS) bus.subscribe(subjects, (message) => this.onPublished(message));
  }

  private onStored(message: BusMessage): void {
    for (const { key, path, value } of rowsOf(message)) {
      if (value === undefined) {
        if (this.ledger.has(key)) this.storedTwice.push(key);
        this.ledger.add(key);
        continue;
      }
      const rows: Map<string, string | number> = typeof value === 'number' ? this.requests : this.flows;
      const name = typeof value === 'number' ? path : key;
      if (rows.has(name)) this.storedTwice.push(name);
      rows.set(name, value);
    }
  }

  private onPublished(message: BusMessage): void {
    const flagged = message.header('Flowtag-Replay') === '1';
    for (const { key } of rowsOf(message)) {
      if (this.published.has(key)) this.publishedAgain[flagged ? 'flagged' : 'unflagged']++;
      this.published.add(key);
    }
  }
}

interface RowOfOutput {
  readonly key: string;
  readonly path: string;
  /** Of a flow its path or reason, of a request its number of flows, nothing of books. */
  readonly value: string | number | undefined;
}

function rowsOf({ schema, data }: BusMessage): RowOfOutput[] {
  if (schema === LEDGER_SCHEMA)
    return decoded(LEDGER_FIELDS, data).map((row) => {
      return { key: `ledger ${row['flowtag.ledger.id']}`, path: '', value: undefined };
    });
  if (schema === FLOW_SCHEMA)
    return decoded(FLOW_FIELDS, data).map((row) => {
      const event = Number.parseInt(row['flowtag.flow.id']!.slice(16), 16);
      const value = row['url.path'] ?? row['flowtag.attribution.reason']!;
      return { key: `${row['host.name']} ${event}`, path: value, value };
    });
  return decoded(REQUEST_FIELDS, data).map((row) => {
    const path = row['url.path']!;
    return { key: `request ${path}`, path, value: row['flowtag.request.flows']! };
  });
}

function decoded<F extends Parameters<typeof decodeRows>[0]>(fields: F, data: Uint8Array): RowOf<F>[] {
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
