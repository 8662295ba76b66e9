// How far back a successor has to read: the messages that arrived within the last join window. Requests that began
// before are carried in the checkpoint, so this decides the price of a takeover, not its result.

interface Mark {
  readonly seq: number;
  readonly atMs: number;
}

export class ReplayWindow {
  private readonly windowMs: number;
  private readonly marks: Mark[];

  /** `fromSeq`: the first message this process reads. */
  constructor(windowMs: number, fromSeq: number, nowMs: number) {
    this.windowMs = windowMs;
    this.marks = [{ seq: fromSeq, atMs: nowMs }];
  }

  /**
   * The first message of the window that ends now, before message `nextSeq`. To be called at intervals: one mark is
   * kept for each. While nothing arrives the window stands still: what it covers is not worth carrying.
   */
  advance(nextSeq: number, nowMs: number): number {
    if (nextSeq > this.marks.at(-1)!.seq) {
      this.marks.push({ seq: nextSeq, atMs: nowMs });
      while (this.marks.length > 1 && this.marks[1]!.atMs <= nowMs - this.windowMs) this.marks.shift();
    }
    return this.marks[0]!.seq;
  }
}
