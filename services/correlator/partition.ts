// One partition of the event stream: an ordered reader, the join, an acknowledged publisher and a checkpoint.
import { EVENT_STREAM, partitionSubjects } from '../../schemas/subjects.ts';
import type { Bus, BusMessage, Outbound, Positions, Publisher, Reader } from '../runtime/bus.ts';
import type { BusError } from '../runtime/errors.ts';
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
  readonly positions: Positions;
  /** Of the whole process, as is its queue. */
  readonly publisher: Publisher;
  readonly queueBytes: number;
  readonly windowMs: number;
  readonly limits: JoinLimits;
  readonly onProcessed: () => void;
  readonly onFailed: (error: BusError) => void;
}

interface Taken {
  /** When the event stream was. */
  readonly created: string;
  readonly takeover: Takeover;
  /** Of the checkpoint, 0 when there was none. */
  readonly revision: number;
}

/** `isOurs`: asked before each message; reading stands still while it says no. Throws BusError. */
export async function takeOver(
  partition: number,
  isOurs: () => boolean,
  options: PartitionOptions,
): Promise<Partition> {
  const { bus, log, positions } = options;
  const saved = await positions.get(keyOf(partition));
  // After the checkpoint: a predecessor that still works must not seem to have read beyond the stream's end.
  const stream = await bus.streamState(EVENT_STREAM);
  const decoded = saved && decodeCheckpoint(saved.value);
  // Beginning at the stream's first message is safe, only slow: every row may have been published before, and says so.
  if (typeof decoded === 'string')
    log.warn({ partition, problem: decoded }, 'checkpoint cannot be read, beginning at the first message');
  const takeover = planTakeover(typeof decoded === 'string' ? undefined : decoded, stream);
  const { replayFrom, emitFrom, because } = takeover;
  const { created, lastSeq } = stream;
  log.info({ partition, because, replayFrom, emitFrom, lastSeq }, 'partition taken over');
  return new Partition(partition, isOurs, options, { created, takeover, revision: saved?.revision ?? 0 });
}

export class Partition {
  readonly join: Join;
  /** Resolves when somebody else has written the checkpoint. */
  readonly fenced: Promise<void>;
  private readonly options: PartitionOptions;
  private readonly takeover: Takeover;
  private readonly pipeline: Pipeline;
  private readonly flowControl: FlowControl;
  private readonly reader: Reader;
  private readonly checkpoints: CheckpointWriter;
  private discarded = 0;

  constructor(partition: number, isOurs: () => boolean, options: PartitionOptions, taken: Taken) {
    const { bus, log, positions, publisher, queueBytes, windowMs, limits } = options;
    const { created, takeover, revision } = taken;
    this.options = options;
    this.takeover = takeover;
    this.join = new Join(limits);
    this.pipeline = new Pipeline(this.join, takeover, created, (message, refusal, error) => {
      this.onRefusal(message, refusal, error);
    });
    this.flowControl = new FlowControl(publisher, queueBytes);
    this.reader = bus.reader({
      stream: EVENT_STREAM,
      filter: partitionSubjects(partition),
      startSeq: takeover.replayFrom,
      log,
      paused: () => !isOurs(),
      onMessage: (message) => this.onMessage(message),
      onPassed: (seq) => this.pipeline.pass(seq),
      onSkipped: (fromSeq, toSeq) => this.onSkipped(fromSeq, toSeq),
      onReplaced: options.onFailed,
    });
    let onFenced = (): void => undefined;
    this.fenced = new Promise((resolve) => {
      onFenced = resolve;
    });
    this.checkpoints = new CheckpointWriter(
      {
        key: keyOf(partition),
        created,
        positions,
        publisher,
        pipeline: this.pipeline,
        join: this.join,
        window: new ReplayWindow(windowMs, takeover.replayFrom, performance.now()),
        log,
        give: (output) => this.give(output),
        onFenced,
      },
      revision,
    );
  }

  get catchingUp(): boolean {
    return this.pipeline.catchingUp;
  }

  get notes(): string[] {
    const notes: string[] = [];
    if (this.flowControl.holding) notes.push('reading is held back: the bus takes rows too slowly');
    if (this.checkpoints.problem !== undefined) notes.push(`no checkpoint: ${this.checkpoints.problem}`);
    return notes;
  }

  get counters(): Record<string, number> {
    return {
      ...partitionCounters(this.join, this.pipeline),
      discarded_unread: this.discarded,
      checkpoints: this.checkpoints.written,
      checkpoint_overflow: this.checkpoints.overflow,
      checkpoint_boots_cut: this.checkpoints.bootsCut,
      messages_pending: this.reader.pending,
      reader_recreated: this.reader.recreated,
    };
  }

  /** The position stays where it is: rows were lost, or somebody else goes on from there. */
  abandon(): void {
    this.checkpoints.abandon();
  }

  /** Stops reading, waits for acknowledgements and writes the last checkpoint. */
  async close(): Promise<void> {
    await this.reader.close();
    this.flowControl.close();
    await this.checkpoints.close();
  }

  private onMessage(message: BusMessage): void {
    this.give(this.pipeline.process(message));
    this.options.onProcessed();
  }

  private give(output: readonly Outbound[]): void {
    for (const message of output) this.options.publisher.publish(message);
    this.flowControl.check(this.reader);
  }

  private onRefusal({ subject, seq }: BusMessage, { reason, detail }: Refusal, error: unknown): void {
    const times = this.pipeline.refused[reason];
    if (!isWorthLogging(times)) return;
    const fields = { reason, detail, subject, seq, times, ...(error === undefined ? {} : { err: error }) };
    this.options.log.warn(fields, 'message set aside as a dead letter');
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

function keyOf(partition: number): string {
  return `p.${partition}`;
}
