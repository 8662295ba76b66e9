// Simulated hosts, one at a time, in a process of its own: publishes what the host's story tells at the pace of the
// clock, and writes the truth first. A line of JSON on stdin begins one, an empty line ends it (what is open ends, and
// everything is acknowledged); each is answered by a line on stdout. kill -9 at any time is a kill -9 of its capture.
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { schemaOf } from '../../schemas/events.ts';
import { type EventKind, eventSubject } from '../../schemas/subjects.ts';
import { connectBus, type Publisher } from '../../services/runtime/bus.ts';
import { nowNs } from '../../services/runtime/clock.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { batchBytes, type Row } from '../unit/correlator/batches.ts';
import { CALLERS, DRAIN_MS, Story } from './story.ts';
import { handedOnLine, truthLine } from './truth.ts';

export interface HostOptions {
  readonly server: string;
  readonly host: string;
  /** How often capture was started since the host booted. */
  readonly run: number;
  readonly truthPath: string;
  /** Of the host's clock, ahead of ours. */
  readonly clockOffsetMs: number;
}

/** What it did until it was told to end. */
export interface HostEnd {
  readonly flushed: boolean;
  /** Rows dropped at a bound. */
  readonly dropped: number;
  /** Messages sent more than once. */
  readonly resent: number;
}

const FLUSH_MS = 60_000;
const BOOT = 'boot-1';

class SimulatedHost {
  private readonly options: HostOptions;
  private readonly publisher: Publisher;
  private readonly offsetNs: bigint;
  private readonly sinceNs: bigint;
  private readonly story: Story;
  private seq = 0;

  constructor(options: HostOptions, publisher: Publisher) {
    this.options = options;
    this.publisher = publisher;
    this.offsetNs = BigInt(options.clockOffsetMs) * 1_000_000n;
    this.sinceNs = this.nowNs();
    this.story = new Story(options.host, options.run, this.sinceNs);
  }

  async run(signal: AbortSignal): Promise<void> {
    const startMs = performance.now();
    for (let drain = 1; !signal.aborted; drain++) {
      this.drain(false);
      const waitMs = startMs + drain * DRAIN_MS - performance.now();
      if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
    this.drain(true);
  }

  private drain(last: boolean): void {
    const { truthPath } = this.options;
    const uptoNs = this.nowNs();
    const { uprobe, kprobe, truth } = this.story.next(uptoNs, last);
    appendFileSync(truthPath, truthLine(truth));
    if (uprobe.length > 0) this.publish('uprobe', uprobe, uptoNs);
    this.publish('kprobe', kprobe, uptoNs);
    appendFileSync(truthPath, handedOnLine());
  }

  private publish(kind: EventKind, rows: readonly Row[], uptoNs: bigint): void {
    const { sinceNs } = this;
    const { host } = this.options;
    const seq = ++this.seq;
    const { processes } = this.story;
    const callers = kind === 'kprobe' ? CALLERS : [];
    this.publisher.publish({
      subject: eventSubject(kind, host),
      schema: schemaOf(kind),
      data: batchBytes({ kind, host, boot: BOOT, seq, sinceNs, uptoNs, processes, callers }, rows),
      messageId: `${host}.${BOOT}.${sinceNs}.${seq}`,
      rows: rows.length,
    });
  }

  private nowNs(): bigint {
    return nowNs() + this.offsetNs;
  }
}

const log = createLogger('host', 'warn');
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
for (;;) {
  const { value, done } = await lines.next();
  if (done) break;
  const options = JSON.parse(value) as HostOptions;
  const bus = await connectBus({ server: options.server, name: `simulated ${options.host}`, log });
  const publisher = bus.publisher({});
  const stop = new AbortController();
  const running = new SimulatedHost(options, publisher).run(stop.signal);
  answer({});
  await lines.next();
  stop.abort();
  await running;
  const flushed = await publisher.flush(FLUSH_MS);
  const { droppedRows: dropped, resent } = publisher.stats;
  await bus.close();
  answer({ flushed, dropped, resent } satisfies HostEnd);
}

function answer(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
