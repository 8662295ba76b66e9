// Simulated hosts, one at a time, in a process of its own: publishes what the host's story tells at the pace of the
// clock, and writes the truth first. A line of JSON on stdin begins one, an empty line ends it (what is open ends, and
// everything is acknowledged); each is answered by a line on stdout. kill -9 at any time is a kill -9 of its capture.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { REQUEST_START, schemaOf } from '../../schemas/events.ts';
import { type EventKind, encodeToken, eventSubject } from '../../schemas/subjects.ts';
import { Outbox } from '../../services/capture/outbox.ts';
import { Uplink } from '../../services/capture/uplink.ts';
import type { Outbound } from '../../services/runtime/bus.ts';
import { nowNs } from '../../services/runtime/clock.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { batchBytes, type Row } from '../unit/correlator/batches.ts';
import { CALLERS, Story } from './story.ts';
import { handedOnLine, truthLine, truthPath } from './truth.ts';
import { Unruly } from './unruly.ts';

export interface HostOptions {
  readonly server: string;
  readonly host: string;
  /** How often capture was started since the host booted. */
  readonly run: number;
  /** Its truth, and the spool of its capture. */
  readonly dir: string;
  readonly boot?: string;
  /** Of the host's clock, ahead of ours. */
  readonly clockOffsetMs?: number;
  readonly spoolBytes: number;
  readonly drainMs: number;
  /** How long it waits for acknowledgements at its end. */
  readonly flushMs?: number;
  /** What it publishes arrives twice and late. */
  readonly unruly?: boolean;
}

/** What it did until it was told to end. */
export interface HostEnd {
  readonly flushed: boolean;
  /** Socket events dropped at a bound, as the ledger counts them. */
  readonly countedLost: number;
  /** Messages sent more than once. */
  readonly resent: number;
}

const FLUSH_MS = 60_000;
const QUEUE_BYTES = 64 << 20;
const SEGMENTS = 16;

class SimulatedHost {
  private readonly options: HostOptions;
  private readonly publish: (message: Outbound) => void;
  private readonly outbox: Outbox;
  private readonly offsetNs: bigint;
  private readonly sinceNs: bigint;
  private readonly story: Story;
  private readonly captured = { request_start: 0, request_end: 0, socket: 0 };
  private readonly settle: () => void;
  private seq = 0;

  constructor(options: HostOptions, outbox: Outbox, sinceNs: bigint) {
    this.options = options;
    this.outbox = outbox;
    this.offsetNs = BigInt(options.clockOffsetMs ?? 0) * 1_000_000n;
    this.sinceNs = sinceNs;
    this.story = new Story(options.host, options.run, this.nowNs());
    const deliver = (message: Outbound): void => outbox.publish(message);
    const unruly = options.unruly ? new Unruly(options.host, deliver) : undefined;
    this.publish = unruly ? (message) => unruly.publish(message) : deliver;
    this.settle = () => unruly?.settle();
  }

  async run(signal: AbortSignal): Promise<void> {
    const startMs = performance.now();
    for (let drain = 1; !signal.aborted; drain++) {
      const waitMs = startMs + drain * this.options.drainMs - performance.now();
      if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) this.drain(false);
    }
    this.drain(true);
    this.send('kprobe', [], this.nowNs()); // as capture does at its end
    this.settle();
  }

  private drain(last: boolean): void {
    const uptoNs = this.nowNs();
    const { uprobe, kprobe, truth } = this.story.next(uptoNs, last);
    const starts = uprobe.filter(({ type }) => type === REQUEST_START).length;
    this.captured.request_start += starts;
    this.captured.request_end += uprobe.length - starts;
    this.captured.socket += kprobe.length;
    const path = truthPath(this.options);
    appendFileSync(path, truthLine(truth));
    if (uprobe.length > 0) this.send('uprobe', uprobe, uptoNs);
    this.send('kprobe', kprobe, uptoNs);
    appendFileSync(path, handedOnLine());
  }

  private send(kind: EventKind, rows: readonly Row[], uptoNs: bigint): void {
    const { sinceNs, captured } = this;
    const { host, boot = 'boot-1' } = this.options;
    const seq = ++this.seq;
    const { processes } = this.story;
    const callers = kind === 'kprobe' ? CALLERS : [];
    const ledger = { captured, dropped: this.outbox.undelivered };
    this.publish({
      subject: eventSubject(kind, host),
      schema: schemaOf(kind),
      data: batchBytes({ kind, host, boot, seq, sinceNs, uptoNs, processes, callers, ledger }, rows),
      messageId: `${encodeToken(host)}.${boot}.${sinceNs}.${seq}`,
      rows: rows.length,
    });
  }

  private nowNs(): bigint {
    return nowNs() + this.offsetNs;
  }
}

const log = createLogger('host', 'warn');
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
answer({}); // ready
for (;;) {
  const { value, done } = await lines.next();
  if (done) break;
  const options = JSON.parse(value) as HostOptions;
  const uplink = await Uplink.open({ server: options.server, name: `simulated ${options.host}`, log });
  const sinceNs = nowNs();
  const outbox = await Outbox.open({
    dir: join(options.dir, 'spool'),
    spoolBytes: options.spoolBytes,
    segmentBytes: options.spoolBytes / SEGMENTS,
    queueBytes: QUEUE_BYTES,
    sinceNs,
    log,
  });
  uplink.whenReached((bus) => outbox.deliverTo(bus));
  const stop = new AbortController();
  const running = new SimulatedHost(options, outbox, sinceNs).run(stop.signal);
  answer({});
  await lines.next();
  stop.abort();
  await running;
  const flushed = await outbox.flush(options.flushMs ?? FLUSH_MS);
  const { resent } = outbox.stats;
  const countedLost = Object.entries(outbox.undelivered).reduce(
    (sum, [name, rows]) => (name.endsWith('.kprobe') ? sum + rows : sum),
    0,
  );
  outbox.close();
  await uplink.close();
  answer({ flushed, countedLost, resent } satisfies HostEnd);
}

function answer(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
