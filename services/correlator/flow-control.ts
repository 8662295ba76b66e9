// Holds the reader back while the publisher cannot keep up: its queue drops what does not fit, and that must not
// happen to rows.
import type { Publisher, Reader } from '../runtime/bus.ts';

const CHECK_MS = 20;

/** To be called after each publish. Stops reading above half of the queue, goes on below a quarter. */
export class FlowControl {
  private readonly publisher: Publisher;
  private readonly queueBytes: number;
  private timer: NodeJS.Timeout | undefined;

  constructor(publisher: Publisher, queueBytes: number) {
    this.publisher = publisher;
    this.queueBytes = queueBytes;
  }

  get holding(): boolean {
    return this.timer !== undefined;
  }

  check(reader: Pick<Reader, 'pause' | 'resume'>): void {
    if (this.timer !== undefined || this.publisher.stats.queuedBytes <= this.queueBytes / 2) return;
    reader.pause();
    this.timer = setInterval(() => {
      if (this.publisher.stats.queuedBytes > this.queueBytes / 4) return;
      this.close();
      reader.resume();
    }, CHECK_MS);
  }

  close(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
