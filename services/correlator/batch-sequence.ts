// The gapless numbers of one boot's batches: what is next, what is missing, what came before. Order in the stream
// is the publisher's order except where one message of its window failed and was sent again: that one arrives late.
import type { SequenceState } from './join-state.ts';

/**
 * `uncertain`: too old to be told from a repeat (an earlier run of capture, or before what is remembered). It is
 * processed, and its output marked so that the store looks before it inserts.
 */
export type Arrival = 'next' | 'late' | 'repeat' | 'uncertain';

const MAX_MISSING_RANGES = 64;

export class BatchSequence {
  /** Batches that are missing now; a late one is taken off again. */
  lost = 0;
  private sinceNs = 0n;
  private last = 0;
  private floor = 0;
  private missing: [number, number][] = [];

  accept(sinceNs: bigint, seq: number): Arrival {
    if (sinceNs < this.sinceNs) return 'uncertain';
    if (sinceNs > this.sinceNs) this.beginRun(sinceNs, seq);
    if (seq > this.last) {
      if (seq > this.last + 1) this.miss(this.last + 1, seq - 1);
      this.last = seq;
      return 'next';
    }
    if (this.find(seq)) return 'late';
    return seq <= this.floor ? 'uncertain' : 'repeat';
  }

  /**
   * Whether one before it is missing that may still come. Once one did not come in time the order of this run is lost,
   * and what follows is taken as it comes.
   */
  isAhead(sinceNs: bigint, seq: number): boolean {
    if (sinceNs > this.sinceNs) return this.sinceNs > 0n && seq > 1;
    return sinceNs === this.sinceNs && seq > this.last + 1 && this.missing.length === 0;
  }

  state(): SequenceState {
    const { sinceNs, last, floor } = this;
    return { sinceNs, last, floor, missing: this.missing.map(([from, to]) => [from, to]) };
  }

  restore(state: SequenceState): void {
    this.sinceNs = state.sinceNs;
    this.last = state.last;
    this.floor = state.floor;
    this.missing = state.missing.map(([from, to]) => [from, to]);
  }

  private beginRun(sinceNs: bigint, seq: number): void {
    // What came before the first batch ever seen of a host is not missing: it was read before, or discarded and
    // counted by the reader.
    const before = this.sinceNs === 0n ? seq - 1 : 0;
    this.sinceNs = sinceNs;
    this.last = before;
    this.floor = before;
    this.missing = [];
  }

  private miss(from: number, to: number): void {
    this.lost += to - from + 1;
    this.missing.push([from, to]);
    if (this.missing.length > MAX_MISSING_RANGES) this.floor = this.missing.shift()![1];
  }

  private find(seq: number): boolean {
    const at = this.missing.findIndex(([from, to]) => from <= seq && seq <= to);
    if (at < 0) return false;
    const [from, to] = this.missing[at]!;
    const rest: [number, number][] = [];
    if (from < seq) rest.push([from, seq - 1]);
    if (seq < to) rest.push([seq + 1, to]);
    this.missing.splice(at, 1, ...rest);
    if (this.missing.length > MAX_MISSING_RANGES) this.floor = this.missing.shift()![1];
    this.lost--;
    return true;
  }
}
