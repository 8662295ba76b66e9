import type { Writable } from 'node:stream';
import type { Say } from './terminal.ts';

/** A reader that does not keep up (a paused pager) may leave this much unread; then live lines are left out, counted. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;

/** Lines on stdout. A reader that has gone (`| head`) closes it quietly; any other failure is kept for the caller. */
export class LineOutput {
  failure: Error | undefined;
  private leftOut = 0;
  private readonly stream: Writable;
  private readonly gone = new AbortController();

  constructor(stream: Writable, say: Say) {
    this.stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') this.failure ??= error;
      this.gone.abort();
    });
    stream.on('drain', () => {
      if (this.leftOut > 0) say(`stdout was not read for a while: ${this.leftOut} flows are left out`);
      this.leftOut = 0;
    });
  }

  /** Aborted when nobody can read any more. */
  get closed(): AbortSignal {
    return this.gone.signal;
  }

  /** For live data: never waits. */
  write(line: string): void {
    if (this.closed.aborted) return;
    if (this.stream.writableLength > MAX_UNREAD_BYTES) this.leftOut++;
    else this.stream.write(`${line}\n`);
  }

  /** For history: waits for a slow reader instead of leaving lines out. */
  async writeAll(lines: Iterable<string>): Promise<void> {
    for (const line of lines) {
      this.write(line);
      if (this.stream.writableNeedDrain) await this.flush();
    }
  }

  /** Resolves when everything is handed over or nobody reads any more: an exit before that would cut it. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      if (this.closed.aborted) resolve();
      else this.stream.write('', () => resolve());
    });
  }
}
