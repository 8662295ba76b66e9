// First in, first out, for things that may also leave from the middle. Those are only marked, skipped when their turn
// comes and swept when they are the majority: every operation is O(1) amortized, and memory stays within twice the
// living. (A Set would do the same with one call, but its first element costs a walk over all deleted ones.)

export class AgeQueue<T extends { readonly gone: boolean }> {
  private items: T[] = [];
  private head = 0;
  private marked = 0;

  push(item: T): void {
    this.items.push(item);
  }

  /** The oldest that is not gone. */
  oldest(): T | undefined {
    while (this.head < this.items.length) {
      const item = this.items[this.head]!;
      if (!item.gone) return item;
      this.head++;
      this.marked--;
    }
    this.items = [];
    this.head = 0;
    return undefined;
  }

  /** Takes the oldest that is not gone. */
  shift(): T | undefined {
    const item = this.oldest();
    if (item !== undefined) {
      this.head++;
      this.sweep();
    }
    return item;
  }

  /** To be called once for each queued item that became gone without being shifted. */
  noteGone(): void {
    this.marked++;
    this.sweep();
  }

  sort(compare: (a: T, b: T) => number): void {
    this.items = [...this].sort(compare);
    this.head = 0;
    this.marked = 0;
  }

  get size(): number {
    return this.items.length - this.head - this.marked;
  }

  /** Those not gone, oldest first. */
  *[Symbol.iterator](): Iterator<T> {
    for (let at = this.head; at < this.items.length; at++) {
      const item = this.items[at]!;
      if (!item.gone) yield item;
    }
  }

  private sweep(): void {
    const dead = this.head + this.marked;
    if (dead < 1024 || dead < this.items.length / 2) return;
    this.items = this.items.slice(this.head).filter((item) => !item.gone);
    this.head = 0;
    this.marked = 0;
  }
}
