// From ring records to the batches on the bus: request facts before the socket facts of the same drain, so
// that a request's start always precedes the connections it caused; gapless sequence numbers.
import { type EventEnvelope, encodeEvents, type Ledger, schemaOf } from '../../schemas/events.ts';
import { type EventKind, encodeToken, eventSubject } from '../../schemas/subjects.ts';
import { BatchCallers, type CallerFacts } from './caller-table.ts';
import { EventDecoder } from './event-decoder.ts';
import { BatchProcesses, type ProcessFactsCache } from './process-table.ts';

const ROWS = 4096;
/** Of one batch: their paths and names, 5 kB each at the most, have to fit into the message too. */
const PROCESSES = 48;
const CALLERS = 1024;
/** A socket batch goes out at least this often, empty if need be: it carries the host's watermark. */
const WATERMARK_MS = 1_000;

export interface EventMessage {
  readonly subject: string;
  readonly schema: string;
  readonly data: Uint8Array;
  readonly messageId: string;
  readonly rows: number;
}

export interface EventBatchesOptions {
  readonly host: string;
  readonly boot: string;
  /** Start of this run in epoch ns: sequence numbers and the ledger count from it. */
  readonly sinceNs: bigint;
  readonly processes: ProcessFactsCache;
  readonly executablePath: (binary: number) => string;
  readonly callerOf: (binary: number, stack: number) => CallerFacts;
  readonly ledger: () => Pick<Ledger, 'captured' | 'dropped'>;
  readonly publish: (message: EventMessage) => void;
}

export class EventBatches {
  readonly decoder: EventDecoder;
  private readonly options: EventBatchesOptions;
  private readonly tables = { uprobe: new BatchProcesses(PROCESSES), kprobe: new BatchProcesses(PROCESSES) };
  private readonly callers = new BatchCallers(CALLERS);
  private readonly idPrefix: string;
  private seq = 0;
  private uptoNs: bigint;
  private watermarkAtMs = Number.NEGATIVE_INFINITY;
  private watermarkSent = false; // since the last drain

  constructor(options: EventBatchesOptions) {
    this.options = options;
    this.uptoNs = options.sinceNs;
    this.idPrefix = `${encodeToken(options.host)}.${options.boot}.${options.sinceNs}`;
    this.decoder = new EventDecoder({
      capacity: ROWS,
      processIndex: (kind, pid, binary) => {
        const table = this.tables[kind];
        return table.indexOf(pid) ?? table.add(options.processes.get(pid, options.executablePath(binary)));
      },
      stackFacts: (binary, stack) => {
        const known = this.callers.factsOf(stack);
        if (known !== undefined) return known;
        return this.callers.add(stack, options.callerOf(binary, stack));
      },
      onProcessEnd: (pid) => {
        options.processes.forget(pid);
        for (const table of Object.values(this.tables)) table.forget(pid);
      },
    });
  }

  /** One ring record. A full batch goes out in the middle of a drain, with the watermark of its last row. */
  accept(offset: number, length: number): void {
    this.decoder.accept(offset, length);
    const { uprobe, kprobe } = this.tables;
    if (this.decoder.full || uprobe.full || kprobe.full || this.callers.full) this.flush(this.lastTimeNs());
  }

  /**
   * After a drain that began at `beganNs` (epoch); `complete`: everything older has been delivered. `nowMs`: any clock
   * that is never set back, which the epoch may be.
   */
  drained(beganNs: bigint, complete: boolean, nowMs: number): void {
    this.flush(complete ? beganNs : this.lastTimeNs());
    if (this.watermarkSent) this.watermarkAtMs = nowMs;
    else if (nowMs - this.watermarkAtMs >= WATERMARK_MS) {
      this.watermark();
      this.watermarkAtMs = nowMs;
    }
    this.watermarkSent = false;
  }

  /** A socket batch without rows: how far this host has got, and its ledger. */
  watermark(): void {
    this.send('kprobe');
  }

  private flush(uptoNs: bigint): void {
    if (uptoNs > this.uptoNs) this.uptoNs = uptoNs;
    if (this.decoder.uprobe.n > 0) this.send('uprobe');
    if (this.decoder.kprobe.n > 0) this.send('kprobe');
  }

  private send(kind: EventKind): void {
    const { host, boot, sinceNs, ledger, publish } = this.options;
    const writer = this.decoder[kind];
    const table = this.tables[kind];
    const n = writer.n;
    const batch: EventEnvelope = {
      v: 1,
      kind,
      host,
      boot,
      seq: ++this.seq,
      fromNs: n > 0 ? timeOf(writer.columns.timeNs, 0) : this.uptoNs,
      uptoNs: this.uptoNs,
      n,
      ledger: { sinceNs, ...ledger() },
      processes: table.writer.n,
      callers: kind === 'kprobe' ? this.callers.writer.n : 0,
      cols: { ...writer.take(), ...table.take(), ...(kind === 'kprobe' ? this.callers.take() : {}) },
    };
    if (kind === 'kprobe') this.watermarkSent = true;
    publish({
      subject: eventSubject(kind, host),
      schema: schemaOf(kind),
      data: encodeEvents(batch),
      messageId: `${this.idPrefix}.${batch.seq}`,
      rows: n,
    });
  }

  private lastTimeNs(): bigint {
    const { uprobe, kprobe } = this.decoder;
    const request = uprobe.n > 0 ? timeOf(uprobe.columns.timeNs, uprobe.n - 1) : 0n;
    const socket = kprobe.n > 0 ? timeOf(kprobe.columns.timeNs, kprobe.n - 1) : 0n;
    return request > socket ? request : socket;
  }
}

function timeOf(words: Uint32Array, row: number): bigint {
  return BigInt(words[2 * row]!) | (BigInt(words[2 * row + 1]!) << 32n);
}
