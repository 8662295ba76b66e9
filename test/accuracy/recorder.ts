// What a running `up` says on its bus: flows, and the events that they were joined from.
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeEvents, type Ledger } from '../../schemas/events.ts';
import { decodeRows, FLOW_FIELDS, type Flow } from '../../schemas/rows.ts';
import { EVENT_SUBJECTS, LIVE_FLOWS } from '../../schemas/subjects.ts';
import { readUpRecord } from '../../services/cli/up-record.ts';
import { type Bus, type BusMessage, connectBus } from '../../services/runtime/bus.ts';
import { createLogger } from '../../services/runtime/log.ts';
import type { Up } from '../support/up.ts';
import { KeyedRules } from './keyed-rules.ts';

const POLL_MS = 100;

export class Recorder {
  readonly rules = new KeyedRules();
  /** Since capture started. */
  ledger: Pick<Ledger, 'captured' | 'dropped'> = { captured: {}, dropped: {} };
  /** Rows of events since the recorder was opened. */
  received = 0;
  private readonly flows = new Map<string, Flow>();
  private readonly bus: Bus;
  private lastSeq: number | undefined;
  private quietSinceMs = performance.now();
  private failure: string | undefined;

  static async open(up: Up): Promise<Recorder> {
    return Recorder.connect(readUpRecord(up.dataDir)!.server);
  }

  static async connect(server: string): Promise<Recorder> {
    return new Recorder(
      await connectBus({ server, name: 'accuracy', log: createLogger('accuracy', 'silent') }),
    );
  }

  private constructor(bus: Bus) {
    this.bus = bus;
    bus.subscribe(EVENT_SUBJECTS, (message) => this.acceptEvents(message));
    bus.subscribe(LIVE_FLOWS, (message) => this.acceptFlows(message));
  }

  flowsOf(pid: number): Flow[] {
    return [...this.flows.values()].filter((flow) => flow['process.pid'] === pid);
  }

  /** Waits until `seen` holds, or nothing has come for `quietMs`; whether it holds. */
  async until(seen: () => boolean | Promise<boolean>, quietMs: number): Promise<boolean> {
    this.quietSinceMs = performance.now();
    for (;;) {
      if (this.failure !== undefined) throw new Error(this.failure);
      if (await seen()) return true;
      if (performance.now() - this.quietSinceMs > quietMs) return false;
      await sleep(POLL_MS);
    }
  }

  /** Events that capture saw and could not deliver. */
  get lost(): number {
    return sum(this.ledger.dropped);
  }

  /** Forgets what was recorded. */
  clear(): void {
    this.failure = undefined;
    this.flows.clear();
    this.rules.clear();
  }

  close(): Promise<void> {
    return this.bus.close();
  }

  private acceptFlows({ data }: BusMessage): void {
    const rows = decodeRows(FLOW_FIELDS, data);
    if (typeof rows === 'string') return void this.fail(rows);
    for (const flow of rows) this.flows.set(flow['flowtag.flow.id']!, flow); // the bus may repeat a message
    this.quietSinceMs = performance.now();
  }

  private acceptEvents({ data }: BusMessage): void {
    const batch = decodeEvents(data);
    if (typeof batch === 'string') return void this.fail(batch);
    // A live subscription that is too slow loses messages: that would be held against flowtag.
    if (this.lastSeq !== undefined && batch.seq !== this.lastSeq + 1)
      this.fail(`the recorder missed batches ${this.lastSeq + 1} to ${batch.seq - 1}; it was too slow`);
    this.lastSeq = batch.seq;
    this.ledger = batch.ledger;
    this.received += batch.n;
    this.rules.accept(batch);
    if (batch.n > 0) this.quietSinceMs = performance.now();
  }

  private fail(problem: string): void {
    this.failure ??= problem;
  }
}

export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
