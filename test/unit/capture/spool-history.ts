// One run of capture after the other on the same spool, and what came of every batch.
import fc from 'fast-check';
import { type EventKind, eventSubject } from '../../../schemas/subjects.ts';
import { Spool, SpoolFullError } from '../../../services/capture/spool.ts';
import { encodeRecord, readRecord } from '../../../services/capture/spool-record.ts';
import type { Outbound } from '../../../services/runtime/bus.ts';
import { batchBytes } from '../correlator/batches.ts';
import { Died, MemoryDisk } from './spool-memory.ts';

export const KINDS: readonly EventKind[] = ['uprobe', 'kprobe'];

export function message(run: number, seq: number, kind: EventKind, rows: number): Outbound {
  const data = batchBytes(
    { kind, seq, sinceNs: BigInt(run), processes: rows > 0 ? [{}] : [] },
    Array.from({ length: rows }, () => ({})),
  );
  return {
    subject: eventSubject(kind, 'node-a'),
    schema: `${kind}.v1`,
    data,
    messageId: `${run}.${seq}`,
    rows,
  };
}

export const RECORD_BYTES = encodeRecord(message(1, 1, 'kprobe', 3)).length;
export const LIMITS = { segmentBytes: 3 * RECORD_BYTES, bytes: 10 * RECORD_BYTES };

export type Step =
  | { readonly do: 'append'; readonly kind: EventKind; readonly rows: number }
  | { readonly do: 'take' }
  | { readonly do: 'settle' }
  | { readonly do: 'start' }
  | { readonly do: 'die'; readonly writes: number; readonly fraction: number };

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      kind: fc.constantFrom(...KINDS),
      rows: fc.nat({ max: 6 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('take' as const, 'settle' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('start' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('die' as const),
      writes: fc.integer({ min: 1, max: 6 }),
      fraction: fc.constantFrom(0, 0.02, 0.5, 0.99, 1),
    }),
  },
);

export class History {
  readonly disk = new MemoryDisk();
  readonly appended: Outbound[] = [];
  /** Of each life of the process. */
  readonly given: Outbound[][] = [];
  spool!: Spool;
  private run = 0;
  private seq = 0;
  private inFlight: NonNullable<ReturnType<Spool['next']>>[] = [];

  constructor() {
    this.start();
  }

  start(): void {
    this.disk.death = undefined;
    this.run++;
    this.seq = 0;
    this.inFlight = [];
    this.given.push([]);
    this.spool = new Spool(this.disk, String(this.run), LIMITS);
  }

  play(one: Step): void {
    try {
      if (one.do === 'append') this.append(one.kind, one.rows);
      else if (one.do === 'take') this.take();
      else if (one.do === 'settle') this.settle();
      else if (one.do === 'start') this.start();
      else this.disk.death = { writes: one.writes, fraction: one.fraction };
    } catch (error) {
      if (error instanceof Died) this.start();
      else if (!(error instanceof SpoolFullError)) throw error;
    }
  }

  take(): boolean {
    const next = this.spool.next();
    if (next === undefined) return false;
    this.given.at(-1)!.push(next.message);
    this.inFlight.push(next);
    return true;
  }

  settle(): void {
    const oldest = this.inFlight.shift();
    if (oldest === undefined) return;
    this.spool.settled(oldest.segment);
  }

  private append(kind: EventKind, rows: number): void {
    const one = message(this.run, ++this.seq, kind, rows);
    try {
      this.spool.append(one);
      this.appended.push(one);
    } catch (error) {
      // Whole on the disk although the process died on it.
      if (error instanceof Died && this.isOnDisk(one)) this.appended.push(one);
      throw error;
    }
  }

  private isOnDisk({ messageId }: Outbound): boolean {
    return [...this.disk.segments.values()].some(({ bytes }) => {
      for (let at = 0; at < bytes.length; ) {
        const { message, end } = readRecord(bytes, at);
        if (message?.messageId === messageId) return true;
        at = end;
      }
      return false;
    });
  }
}
