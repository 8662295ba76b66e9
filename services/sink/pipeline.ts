// From the reader to the committer: messages are collected into blocks, blocks are committed one after the other.
// Memory is bounded: with two closed blocks waiting the reader is paused.
import { setTimeout as sleep } from 'node:timers/promises';
import type { BusMessage } from '../runtime/bus.ts';
import { type Block, BlockCollector, type BlockLimits, type Boundary } from './block.ts';
import type { Committer } from './commit.ts';
import type { Counters } from './counters.ts';
import type { DeadLetters } from './dead-letters.ts';
import { readMessage } from './message.ts';

export interface PipelineOptions {
  readonly limits: BlockLimits;
  readonly fixed: Boundary | undefined;
  readonly suspectUpto: number;
  readonly committer: Pick<Committer, 'commit' | 'settle'>;
  readonly deadLetters: Pick<DeadLetters, 'add'>;
  readonly counters: Counters;
  /** Called when it is no longer full. */
  readonly onRoom: () => void;
}

const WAITING_BLOCKS_MAX = 2;

export class Pipeline {
  private readonly options: PipelineOptions;
  private readonly collector: BlockCollector;
  private readonly waiting: Block[] = [];
  private stopping = false;
  private wake: () => void = () => {};

  constructor(options: PipelineOptions) {
    this.options = options;
    this.collector = new BlockCollector(options.limits, options.fixed);
  }

  get full(): boolean {
    return this.waiting.length >= WAITING_BLOCKS_MAX;
  }

  accept(message: BusMessage): void {
    const { counters, deadLetters, suspectUpto } = this.options;
    counters.add('messages_read');
    const read = readMessage(message, suspectUpto);
    if ('reason' in read) deadLetters.add(message, read);
    const part = 'reason' in read ? undefined : read;
    const wasEmpty = this.collector.dueMs === undefined;
    this.waiting.push(...this.collector.add(message.seq, part, performance.now()));
    if (wasEmpty || this.waiting.length > 0) this.wake();
  }

  /** No further message comes: `run` ends when everything collected is committed. */
  stop(): void {
    this.stopping = true;
    this.waiting.push(...this.collector.close());
    this.wake();
  }

  /** Until `stop`, or `signal` gives up what is not committed by then: it stays in the stream. */
  async run(signal: AbortSignal): Promise<void> {
    const { committer } = this.options;
    for (;;) {
      this.waiting.push(...this.collector.due(performance.now()));
      const block = this.waiting[0];
      if (block) {
        await committer.commit(block, signal);
        this.waiting.shift();
        this.options.onRoom();
        // The boundary of the next block says the same; without one, say it now.
        if (this.waiting.length === 0) await committer.settle(block.last, signal);
      } else if (this.stopping) return;
      else await this.nextWork(signal);
    }
  }

  private async nextWork(signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    const { dueMs } = this.collector;
    const waits = [woken, aborted(signal, done.signal)];
    if (dueMs !== undefined)
      waits.push(
        sleep(Math.max(0, dueMs - performance.now()), undefined, { signal: done.signal }).catch(() => {}),
      );
    await Promise.race(waits);
    done.abort();
    signal.throwIfAborted();
  }
}

function aborted(signal: AbortSignal, until: AbortSignal): Promise<void> {
  return new Promise((resolve) =>
    signal.aborted
      ? resolve()
      : signal.addEventListener('abort', () => resolve(), { once: true, signal: until }),
  );
}
