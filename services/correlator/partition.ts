// One partition of the event stream: an ordered reader, the join, an acknowledged publisher and a checkpoint.
// One instance reads everything now; one for each `flowtag.ev.*.<n>.*` differs in `filter` and `key` alone.
import { setTimeout as sleep } from 'node:timers/promises';
import { CHECKPOINT_BUCKET, DEAD_LETTER_SUBJECTS, EVENT_STREAM } from '../../schemas/subjects.ts';
import type { Bus, BusMessage, DropReason, Positions, Publisher, Reader } from '../runtime/bus.ts';
import { provisionStreams, type StreamLimits } from '../runtime/bus-streams.ts';
import { BusError } from '../runtime/errors.ts';
import { isWorthLogging, type Logger } from '../runtime/log.ts';
import { decodeCheckpoint } from './checkpoint.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { FlowControl } from './flow-control.ts';
import type { Refusal } from './intake.ts';
import { Join, type JoinLimits } from './join.ts';
import { partitionCounters } from './partition-counters.ts';
import { Pipeline } from './pipeline.ts';
import { ReplayWindow } from './replay-window.ts';
import { planTakeover, type Takeover } from './takeover.ts';

export interface PartitionOptions {
  readonly bus: Bus;
  readonly log: Logger;
  /** Subjects of the event stream. */
  readonly filter: string;
  /** Name of the position in the checkpoint bucket. */
  readonly key: string;
  readonly windowMs: number;
  readonly limits: JoinLimits;
  /** Streams that the bus lacks are made so. */
  readonly streams: StreamLimits;
  readonly signal: AbortSignal;
}

const QUEUE_BYTES = 64 << 20;
const RETRY_MS = 1_000;

/** Waits for the bus for as long as `signal` allows; undefined when it aborts first. Throws STREAM_MISMATCH. */
export async function openPartition(options: PartitionOptions): Promise<Partition | undefined> {
  let said = '';
  while (!options.signal.aborted) {
    try {
      return await takeOver(options);
    } catch (error) {
      if (!(error instanceof BusError) || error.code === 'STREAM_MISMATCH') throw error;
      if (error.message !== said)
        options.log.warn({ problem: error.message }, 'cannot take the partition over yet, retrying');
      said = error.message;
      await sleep(RETRY_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }
  return undefined;
}

async function takeOver(options: PartitionOptions): Promise<Partition> {
  const { bus, log, key, streams } = options;
  await provisionStreams(bus, streams);
  const positions = await bus.positions(CHECKPOINT_BUCKET);
  const saved = await positions.get(key);
  // After the checkpoint: a predecessor that still works must not seem to have read beyond the stream's end.
  const stream = await bus.streamState(EVENT_STREAM);
  const decoded = saved && decodeCheckpoint(saved.value);
  // Beginning at the stream's first message is safe, only slow: every row may have been published before, and says so.
  if (typeof decoded === 'string')
    log.warn({ key, problem: decoded }, 'checkpoint cannot be read, beginning at the first message');
  const takeover = planTakeover(typeof decoded === 'string' ? undefined : decoded, stream);
  const { replayFrom, emitFrom, because } = takeover;
  const { lastSeq } = stream;
  log.info({ key, because, replayFrom, emitFrom, lastSeq }, 'partition taken over');
  const { created } = stream;
  return new Partition(options, { created, takeover, positions, revision: saved?.revision ?? 0 });
}

interface Taken {
  /** When the event stream was. */
  readonly created: string;
  readonly takeover: Takeover;
  readonly positions: Positions;
  /** Of the checkpoint, 0 when there was none. */
  readonly revision: number;
}

export class Partition {
  /** Rejects when this process cannot go on. */
  readonly failed: Promise<never>;
  private readonly options: PartitionOptions;
  private readonly takeover: Takeover;
  private readonly join: Join;
  private readonly pipeline: Pipeline;
  private readonly publisher: Publisher;
  private readonly flowControl: FlowControl;
  private readonly reader: Reader;
  private readonly checkpoints: CheckpointWriter;
  private discarded = 0;
  private deadLettersDropped = 0;
  private unpublishable = 0;
  private closing = false;
  private fail: (error: Error) => void = () => undefined;

  constructor(options: PartitionOptions, { created, takeover, positions, revision }: Taken) {
    const { bus, log, filter, key, windowMs, limits } = options;
    this.options = options;
    this.takeover = takeover;
    this.failed = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => undefined); // main awaits it; a failure before that must not count as unhandled
    this.join = new Join(limits);
    this.pipeline = new Pipeline(this.join, takeover, created, (message, refusal, error) => {
      this.onRefusal(message, refusal, error);
    });
    this.publisher = bus.publisher({
      queueBytes: QUEUE_BYTES,
      onDrop: ({ subject, reason }) => this.onDrop(subject, reason),
    });
    this.flowControl = new FlowControl(this.publisher, QUEUE_BYTES);
    this.reader = bus.reader({
      stream: EVENT_STREAM,
      filter,
      startSeq: takeover.replayFrom,
      log,
      onMessage: (message) => this.onMessage(message),
      onSkipped: (fromSeq, toSeq) => this.onSkipped(fromSeq, toSeq),
      onReplaced: (error) => this.fail(error),
    });
    this.checkpoints = new CheckpointWriter(
      {
        key,
        created,
        positions,
        publisher: this.publisher,
        pipeline: this.pipeline,
        join: this.join,
        window: new ReplayWindow(windowMs, takeover.replayFrom, performance.now()),
        log,
        onFenced: (error) => this.fail(fenced(key, error)),
      },
      revision,
    );
  }

  get state(): 'starting' | 'ready' | 'degraded' {
    if (this.notes.length > 0) return 'degraded';
    return this.pipeline.catchingUp ? 'starting' : 'ready';
  }

  get notes(): string[] {
    const notes: string[] = [];
    if (!this.options.bus.connected) notes.push('the bus is away');
    if (this.flowControl.holding) notes.push('reading is held back: the bus takes rows too slowly');
    if (this.checkpoints.problem !== undefined) notes.push(`no checkpoint: ${this.checkpoints.problem}`);
    return notes;
  }

  get counters(): Record<string, number> {
    return {
      ...partitionCounters(this.join, this.pipeline, this.publisher.stats),
      discarded_unread: this.discarded,
      dead_letters_dropped: this.deadLettersDropped,
      messages_unpublishable: this.unpublishable,
      checkpoints: this.checkpoints.written,
      checkpoint_overflow: this.checkpoints.overflow,
      checkpoint_boots_cut: this.checkpoints.bootsCut,
      messages_pending: this.reader.pending,
      reader_recreated: this.reader.recreated,
    };
  }

  /** Stops reading, waits for acknowledgements and writes the last checkpoint. */
  async close(): Promise<void> {
    await this.reader.close();
    this.flowControl.close();
    await this.checkpoints.close();
    this.closing = true;
    this.publisher.close();
  }

  private onMessage(message: BusMessage): void {
    for (const output of this.pipeline.process(message)) this.publisher.publish(output);
    this.flowControl.check(this.reader);
  }

  private onRefusal({ subject, seq }: BusMessage, { reason, detail }: Refusal, error: unknown): void {
    const times = this.pipeline.refused[reason];
    if (!isWorthLogging(times)) return;
    const fields = { reason, detail, subject, seq, times, ...(error === undefined ? {} : { err: error }) };
    this.options.log.warn(fields, 'message set aside as a dead letter');
  }

  private onDrop(subject: string, reason: DropReason): void {
    if (this.closing) return; // counted by the publisher; the next owner publishes it again
    if (subject.startsWith(DEAD_LETTER_SUBJECTS.slice(0, -1))) this.deadLettersDropped++;
    else if (reason !== 'queue_full')
      this.unpublishable++; // it would be refused after a restart, too
    else {
      this.checkpoints.abandon();
      this.fail(dropped(subject));
    }
  }

  private onSkipped(fromSeq: number, toSeq: number): void {
    const unread = toSeq - Math.max(fromSeq, this.takeover.emitFrom) + 1;
    if (unread <= 0) return;
    this.discarded += unread;
    this.options.log.error(
      { fromSeq, toSeq, messages: unread },
      'the event stream discarded messages before they were read: raise its limits or add correlators',
    );
  }
}

function fenced(key: string, cause: BusError): BusError {
  return new BusError(
    'FENCED',
    `another correlator has taken over partition ${key}: this one stops. Run one correlator for each bus`,
    { cause },
  );
}

function dropped(subject: string): BusError {
  return new BusError(
    'ROWS_NOT_PUBLISHED',
    `rows for ${subject} could not be published; stopping, so that the next start publishes them again ` +
      'from the checkpoint. If it repeats, the server takes smaller messages than 1 MiB: raise its max_payload',
  );
}
