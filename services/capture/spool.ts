// What waits for the bus, in segments on disk: appended at the end, read from the front, gone once settled. At the
// bound the oldest segment goes of which nothing is on its way, and its rows are counted. Pure but for `files`.
//
// A loss has to be told by what is published of the same run of capture, or nobody can check its ledger: batches that
// are read back say what was lost of their run by then, and of each run the last batch is kept.
import { type Ledger, withDropped } from '../../schemas/events.ts';
import { type EventKind, parseEventSubject } from '../../schemas/subjects.ts';
import type { Outbound } from '../runtime/bus.ts';
import { encodeRecord, readRecord } from './spool-record.ts';

/** Rows that were in segments which had to go. */
export type LostRows = Readonly<Record<EventKind, number>>;

export interface SegmentName {
  /** Rising, over all runs. */
  readonly number: number;
  /** Of capture; a segment is of one run. */
  readonly run: string;
}

export interface Losses {
  readonly ofRuns: Readonly<Record<string, LostRows>>;
  /** The segment whose rows were counted last, and what is to be left of it: it may still be whole. */
  readonly dropping?: { readonly number: number; readonly bytes: number } | undefined;
}

/** The disk. What writes or reads may throw; what takes away may not. */
export interface SpoolFiles {
  list(): readonly (SegmentName & { readonly bytes: number })[];
  losses(): Losses;
  /** Whole or not at all. */
  saveLosses(losses: Losses): void;
  /** Whole or not at all, unless the process dies meanwhile. */
  append(segment: SegmentName, at: number, record: Uint8Array): void;
  read(segment: SegmentName, from: number, to: number): Buffer;
  /** Whole or not at all. */
  replace(segment: SegmentName, record: Uint8Array): void;
  /** The segment that was appended to last, empty from now on. */
  truncate(segment: SegmentName): void;
  remove(segment: SegmentName): void;
}

export interface SpoolLimits {
  readonly bytes: number;
  readonly segmentBytes: number;
}

export interface Segment extends SegmentName {
  bytes: number;
  /** What is before it was given out. */
  readTo: number;
  /** Given out and not settled. */
  pending: number;
  /** Nothing more of it can go: the last batch of a run. */
  reduced: boolean;
}

/** What is there is on its way, or the last of its run. */
export class SpoolFullError extends Error {}

/** Far more than the bytes give unless capture dies again and again. */
const MOST_SEGMENTS = 4_096;
const NOTHING: LostRows = { uprobe: 0, kprobe: 0 };

export class Spool {
  bytes = 0;
  /** Of what could not be read back. */
  damagedBytes = 0;
  /** Rows of this run, and of those before as far as they are remembered. */
  lostRows = 0;
  private readonly files: SpoolFiles;
  private readonly run: string;
  private readonly limits: SpoolLimits;
  private readonly list: Segment[] = [];
  private lost: Map<string, LostRows>;
  private nextNumber = 1;
  private tail: Segment | undefined;
  /** What was appended last: most are given out at once, and need not be read. */
  private fresh: { readonly segment: Segment; readonly at: number; readonly message: Outbound } | undefined;
  private chunk: { readonly segment: Segment; readonly from: number; readonly bytes: Buffer } | undefined;

  constructor(files: SpoolFiles, run: string, limits: SpoolLimits) {
    this.files = files;
    this.run = run;
    this.limits = limits;
    const { ofRuns, dropping } = files.losses();
    this.lost = new Map(Object.entries(ofRuns));
    for (const { uprobe, kprobe } of this.lost.values()) this.lostRows += uprobe + kprobe;
    for (const { number, run, bytes } of files.list()) {
      this.list.push({ number, run, bytes, readTo: 0, pending: 0, reduced: false });
      this.bytes += bytes;
    }
    this.list.sort((a, b) => a.number - b.number);
    this.nextNumber = Math.max(this.list.at(-1)?.number ?? 0, dropping?.number ?? 0) + 1;
    this.finishDrop(dropping);
    this.mendNewest();
  }

  get segments(): number {
    return this.list.length;
  }

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  lostOf(run: string): LostRows {
    return this.lost.get(run) ?? NOTHING;
  }

  /** Throws when it cannot be written; nothing of it is there then. */
  append(message: Outbound): void {
    const record = encodeRecord(message);
    const segment = this.tailFor(record.length);
    while (this.bytes + record.length > this.limits.bytes || this.list.length > MOST_SEGMENTS)
      this.dropOldest();
    const at = segment.bytes;
    this.files.append(segment, at, record);
    segment.bytes += record.length;
    this.bytes += record.length;
    this.fresh = { segment, at, message };
  }

  /** The oldest that was not given out; `segment` comes back to `settled`. */
  next(): { readonly message: Outbound; readonly segment: Segment } | undefined {
    for (;;) {
      const segment = this.list.find(({ readTo, bytes }) => readTo < bytes);
      if (segment === undefined) return undefined;
      const message = this.read(segment);
      if (message === undefined) this.finish(segment);
      else {
        segment.pending++;
        return { message, segment };
      }
    }
  }

  /** One of the segment's messages need not be kept any longer. */
  settled(segment: Segment): void {
    segment.pending--;
    this.finish(segment);
  }

  private read(segment: Segment): Outbound | undefined {
    const at = segment.readTo;
    if (this.fresh?.segment === segment && this.fresh.at === at) {
      segment.readTo = segment.bytes;
      return this.fresh.message;
    }
    try {
      const { from, bytes } = this.chunkAt(segment, at);
      const { message, end } = readRecord(bytes, at - from);
      segment.readTo = from + end;
      if (message === undefined) this.damagedBytes += segment.readTo - at;
      return message && this.withLosses(message, segment.run);
    } catch {
      segment.readTo = segment.bytes;
      this.damagedBytes += segment.bytes - at;
      return undefined;
    }
  }

  /** Its ledger is as old as it is; what was lost since then would be told by nobody. */
  private withLosses(message: Outbound, run: string): Outbound {
    const lost = this.lost.get(run);
    return lost ? { ...message, data: withDropped(message.data, droppedOf(lost)) } : message;
  }

  private chunkAt(segment: Segment, at: number): { readonly from: number; readonly bytes: Buffer } {
    const known = this.chunk;
    if (known?.segment === segment && at < known.from + known.bytes.length) return known;
    const chunk = { segment, from: at, bytes: this.files.read(segment, at, segment.bytes) };
    this.chunk = chunk;
    return chunk;
  }

  private tailFor(bytes: number): Segment {
    const { tail } = this;
    if (tail && (tail.bytes === 0 || tail.bytes + bytes <= this.limits.segmentBytes)) return tail;
    const { run } = this;
    this.tail = { number: this.nextNumber++, run, bytes: 0, readTo: 0, pending: 0, reduced: false };
    this.list.push(this.tail);
    return this.tail;
  }

  private finish(segment: Segment): void {
    if (segment.pending > 0 || segment.readTo < segment.bytes) return;
    if (this.chunk?.segment === segment) this.chunk = undefined;
    this.bytes -= segment.bytes;
    if (segment === this.tail) this.empty(segment);
    else this.forget(segment);
  }

  /** Nothing waits in it, so a crash leaves nothing that would be published again. */
  private empty(tail: Segment): void {
    this.fresh = undefined;
    tail.bytes = 0;
    tail.readTo = 0;
    this.files.truncate(tail);
  }

  private forget(segment: Segment): void {
    this.list.splice(this.list.indexOf(segment), 1);
    this.files.remove(segment);
  }

  private dropOldest(): void {
    const crowded = this.list.length > MOST_SEGMENTS;
    const oldest = this.list.find(
      (segment) => segment !== this.tail && segment.readTo === 0 && (crowded || !segment.reduced),
    );
    if (oldest === undefined) throw new SpoolFullError('full, and nothing in it can go');
    const messages = [...this.scan(oldest).messages];
    const last = this.isLastOfRun(oldest) && !crowded ? messages.pop() : undefined;
    const kept = last && encodeRecord(last);
    const rows = rowsOf(messages);
    const before = this.lostOf(oldest.run);
    const lost = { uprobe: before.uprobe + rows.uprobe, kprobe: before.kprobe + rows.kprobe };
    this.saveLosses(new Map([...this.lost, [oldest.run, lost]]), {
      number: oldest.number,
      bytes: kept?.length ?? 0,
    });
    this.lostRows += rows.uprobe + rows.kprobe;
    oldest.reduced = true; // before what may fail: no row is counted twice
    this.shrink(oldest, kept);
  }

  private shrink(segment: Segment, left: Buffer | undefined): void {
    if (left === undefined) this.forget(segment);
    else this.files.replace(segment, left);
    const bytes = left?.length ?? 0;
    this.bytes += bytes - segment.bytes;
    segment.bytes = bytes;
  }

  /** Its rows were counted, and then the process died. */
  private finishDrop(dropping: Losses['dropping']): void {
    const segment = this.list.find(({ number }) => number === dropping?.number);
    if (segment === undefined || segment.bytes === dropping?.bytes) return;
    const last = dropping?.bytes === 0 ? undefined : this.scan(segment).messages.at(-1);
    this.shrink(segment, last && encodeRecord(last));
  }

  /** Its end is torn when the process died while it wrote: no batch of its run that would tell a loss. */
  private mendNewest(): void {
    const newest = this.list.at(-1);
    if (newest === undefined) return;
    const { wholeBytes } = this.scan(newest);
    if (wholeBytes === newest.bytes) return;
    this.shrink(newest, wholeBytes > 0 ? this.files.read(newest, 0, wholeBytes) : undefined);
  }

  /** Saved first: what cannot be counted is not dropped. */
  private saveLosses(lost: ReadonlyMap<string, LostRows>, dropping: Losses['dropping']): void {
    const runs = new Set([this.run, ...this.list.map(({ run }) => run)]);
    const remembered = [...lost].filter(([run, { uprobe, kprobe }]) => runs.has(run) && uprobe + kprobe > 0);
    this.files.saveLosses({ ofRuns: Object.fromEntries(remembered), dropping });
    this.lost = new Map(remembered);
  }

  /** Nothing of its run follows (yet) that would tell what was lost. */
  private isLastOfRun({ run, number }: SegmentName): boolean {
    return !this.list.some((other) => other.run === run && other.number > number && other.bytes > 0);
  }

  /** What can be read of it, and where that ends. */
  private scan(segment: Segment): { readonly messages: readonly Outbound[]; readonly wholeBytes: number } {
    const messages: Outbound[] = [];
    let wholeBytes = 0;
    try {
      const bytes = this.files.read(segment, 0, segment.bytes);
      for (let at = 0; at < bytes.length; ) {
        const { message, end } = readRecord(bytes, at);
        if (message) {
          messages.push(message);
          wholeBytes = end;
        } else this.damagedBytes += end - at;
        at = end;
      }
    } catch {
      this.damagedBytes += segment.bytes;
    }
    return { messages, wholeBytes };
  }
}

function rowsOf(messages: readonly Outbound[]): LostRows {
  const lost = { ...NOTHING };
  for (const { subject, rows } of messages) lost[parseEventSubject(subject)?.kind ?? 'kprobe'] += rows;
  return lost;
}

/** As the ledger names them. */
export function droppedOf({ uprobe, kprobe }: LostRows): Ledger['dropped'] {
  return {
    ...(uprobe > 0 && { 'spool_full.uprobe': uprobe }),
    ...(kprobe > 0 && { 'spool_full.kprobe': kprobe }),
  };
}
