// The spool's disk in memory, which may refuse a write, or lose its process in the middle of one.
import type { Losses, SegmentName, SpoolFiles } from '../../../services/capture/spool.ts';

/** Thrown where the process dies. */
export class Died extends Error {}

export class MemoryDisk implements SpoolFiles {
  readonly segments = new Map<number, { run: string; bytes: Buffer }>();
  isFull = false;
  /** Writes until the process dies; the last one is done to this fraction. */
  death: { writes: number; fraction: number } | undefined;
  private saved: Losses = { ofRuns: {} };

  list() {
    return [...this.segments].map(([number, { run, bytes }]) => ({ number, run, bytes: bytes.length }));
  }

  losses(): Losses {
    return this.saved;
  }

  saveLosses(losses: Losses): void {
    this.write(() => {
      this.saved = losses;
    });
  }

  append({ number, run }: SegmentName, at: number, record: Uint8Array): void {
    if (this.isFull) throw new Error('ENOSPC');
    const before = this.segments.get(number)?.bytes.subarray(0, at) ?? Buffer.alloc(0);
    const put = (part: number): void => {
      const written = record.subarray(0, Math.floor(part * record.length));
      this.segments.set(number, { run, bytes: Buffer.concat([before, written]) });
    };
    this.write(() => put(1), put);
  }

  read({ number }: SegmentName, from: number, to: number): Buffer {
    return this.segments.get(number)!.bytes.subarray(from, to);
  }

  replace({ number, run }: SegmentName, record: Uint8Array): void {
    this.write(() => this.segments.set(number, { run, bytes: Buffer.from(record) }));
  }

  truncate({ number, run }: SegmentName): void {
    this.write(() => this.segments.set(number, { run, bytes: Buffer.alloc(0) }));
  }

  remove({ number }: SegmentName): void {
    this.write(() => this.segments.delete(number));
  }

  private write(whole: () => void, part: (fraction: number) => void = () => undefined): void {
    if (this.death === undefined) return void whole();
    if (--this.death.writes > 0) return void whole();
    const { fraction } = this.death;
    this.death = undefined;
    if (fraction === 1) whole();
    else part(fraction);
    throw new Died();
  }
}
