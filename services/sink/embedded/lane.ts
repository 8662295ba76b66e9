// At most `width` tasks at a time, at most `waiting` more in order of arrival. Keeps queries off the threads that
// libuv has (4 by default, one a running query): reads and writes have lanes of their own, so neither starves the other.

export class LaneFullError extends Error {}

export class Lane {
  private running = 0;
  private readonly queue: (() => void)[] = [];
  private readonly width: number;
  private readonly waiting: number;

  constructor(width: number, waiting: number) {
    this.width = width;
    this.waiting = waiting;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.running >= this.width) {
      if (this.queue.length >= this.waiting) throw new LaneFullError(`${this.waiting} queries wait already`);
      await new Promise<void>((resolve) => this.queue.push(resolve));
    } else this.running += 1;
    try {
      return await task();
    } finally {
      const next = this.queue.shift();
      if (next) next();
      else this.running -= 1;
    }
  }
}
