// flowtag's capture daemon as a user runs it, the build in dist/, on a NATS server of the benchmark.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unpack } from '../../schemas/codec.ts';
import { type Status, status } from '../../schemas/status.ts';
import { statusSubject } from '../../schemas/subjects.ts';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { provisionStreams } from '../../services/runtime/bus-streams.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { endChild } from '../support/end-child.ts';
import { type NatsServer, startNatsServer } from '../support/nats-server.ts';
import type { Tracer } from './tracer.ts';

const READY_MS = 30_000;
const STOP_MS = 15_000;
const HEARTBEAT_MS = 12_000; // two of them
const MAX_HITS = 100_000_000; // its budget would take the probes off at saturation
const EVENT_BYTES = 64 << 20;
const EVENT_AGE_MS = 60_000;

export class CaptureBus {
  readonly nats: NatsServer;
  private readonly bus: Bus;
  private daemons = 0;

  static async start(): Promise<CaptureBus> {
    const nats = await startNatsServer();
    const bus = await connectBus({ server: nats.url, name: 'benchmark', log: createLogger('bench', 'warn') });
    await provisionStreams(bus, {
      eventBytes: EVENT_BYTES,
      eventAgeMs: EVENT_AGE_MS,
      flowBytes: EVENT_BYTES,
      flowAgeMs: EVENT_AGE_MS,
      replicas: 1,
    });
    return new CaptureBus(nats, bus);
  }

  private constructor(nats: NatsServer, bus: Bus) {
    this.nats = nats;
    this.bus = bus;
  }

  /** Returns when it probes `target`. */
  async startDaemon(target: string, options: readonly string[]): Promise<Tracer> {
    const host = `bench-${++this.daemons}`; // its own, so that a heartbeat of the one before is not taken for it
    let latest: Status | undefined;
    const heartbeats = this.bus.subscribe(statusSubject('capture', host), ({ data }) => {
      latest = status.parse(unpack(data));
    });
    const command = [resolve('bin/flowtag.js'), 'capture', '--server', this.nats.url, '--host', host];
    const dataDir = await mkdtemp(join(tmpdir(), 'flowtag-bench-capture-'));
    command.push(
      '--data-dir',
      dataDir,
      '--target',
      target,
      '--log-level',
      'warn',
      '--max-hits',
      `${MAX_HITS}`,
    );
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, ...command, ...options], {
      env: environment(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let complaints = ''; // log level warn: whatever it says
    child.stderr.on('data', (chunk: Buffer) => {
      complaints = (complaints + chunk).slice(-4_000);
    });
    const until = async (seen: () => boolean, deadlineMs: number, what: string): Promise<void> => {
      const deadline = performance.now() + deadlineMs;
      while (!seen()) {
        if (child.exitCode !== null || performance.now() > deadline)
          throw new Error(`capture ${what}: ${latest?.notes.join('; ') ?? 'no heartbeat'}\n${complaints}`);
        await sleep(50);
      }
    };
    const end = async (): Promise<void> => {
      heartbeats.close();
      await endChild(child, STOP_MS);
      await rm(dataDir, { recursive: true, force: true });
    };
    const isProbing = (): boolean =>
      latest?.state === 'ready' && latest.notes.some((note) => note.startsWith(`probing ${target} `));
    try {
      await until(isProbing, READY_MS, `does not probe ${target}`);
    } catch (error) {
      await end();
      throw error;
    }
    return {
      processes: { capture: child.pid!, 'nats-server': this.nats.pid },
      seen: async (requests) => {
        const last = latest;
        await until(() => latest !== last, HEARTBEAT_MS, 'sent no heartbeat');
        return ledgerOf(latest!.counters, requests);
      },
      stop: end,
    };
  }

  async stop(): Promise<void> {
    await this.bus.close();
    await this.nats.stop();
  }
}

/** `captured` counts what the probes saw, delivered or not. */
function ledgerOf(counters: Readonly<Record<string, number>>, requests: number): Record<string, number> {
  const starts = counters['captured.request_start'] ?? 0;
  if (starts < requests) throw new Error(`capture saw ${starts} of ${requests} requests`);
  const sum = (prefix: string): number =>
    Object.entries(counters).reduce((total, [name, n]) => (name.startsWith(prefix) ? total + n : total), 0);
  return { events: sum('captured.'), 'events lost': sum('dropped.') };
}

/** Without settings of whoever runs the benchmark. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FLOWTAG_')));
}
