// One message of the event stream in, the messages that follow from it out. Pure: the same messages from the same
// position give the same output, byte for byte and id for id. A batch that comes before one that its host sent earlier
// waits for that one: its own output follows then.
import { deadLetter } from '../../schemas/dead-letter.ts';
import type { BusMessage, Outbound } from '../runtime/bus.ts';
import { type Early, EarlyBatches } from './early-batches.ts';
import { fnv1a64 } from './ids.ts';
import { type Refusal, type RefusalReason, readEvents } from './intake.ts';
import type { Join } from './join.ts';
import { flowMessages, ledgerMessage, type Outputs, requestMessages } from './outputs.ts';
import type { Takeover } from './takeover.ts';

const NOTHING: readonly Outbound[] = [];

export class Pipeline {
  /** Sequence of the first message that has not been processed. */
  nextSeq: number;
  /** Messages read again to rebuild the join. */
  replayed = 0;
  /** Batches that had to wait for an earlier one. */
  early = 0;
  oversizeRows = 0;
  readonly refused: Record<RefusalReason, number> = {
    malformed: 0,
    unknown_schema: 0,
    host_mismatch: 0,
    oversize: 0,
    failed: 0,
  };
  private readonly join: Join;
  private readonly waiting = new EarlyBatches();
  private readonly takeover: Takeover;
  private readonly streamId: string;
  private readonly onRefusal: (message: BusMessage, refusal: Refusal, error?: unknown) => void;
  private rebuilding: boolean;

  constructor(
    join: Join,
    takeover: Takeover,
    streamCreated: string,
    onRefusal: (message: BusMessage, refusal: Refusal, error?: unknown) => void,
  ) {
    this.join = join;
    this.takeover = takeover;
    this.streamId = fnv1a64(streamCreated);
    this.onRefusal = onRefusal;
    this.nextSeq = takeover.replayFrom;
    this.rebuilding = takeover.join !== undefined;
    if (takeover.join !== undefined) join.resume(takeover.join);
    this.finishRebuild(this.nextSeq);
  }

  /** True until the messages before the checkpoint's position have been read again. */
  get catchingUp(): boolean {
    return this.rebuilding;
  }

  /** Batches that wait for an earlier one: `nextSeq` is no position to go on from. */
  get held(): number {
    return this.waiting.size;
  }

  /** Never throws: a message on which this code fails is set aside like one that is wrong itself. */
  process(message: BusMessage): readonly Outbound[] {
    this.finishRebuild(message.seq);
    this.nextSeq = message.seq + 1;
    if (this.rebuilding) this.replayed++;
    const output = this.guarded(message, () => this.accept(message));
    this.finishRebuild(this.nextSeq);
    return output;
  }

  /** To be called once a second: the output of batches that have waited in vain. */
  letGoStuck(): readonly Outbound[] {
    return this.correlateAll(this.waiting.takeStuck());
  }

  letGo(): readonly Outbound[] {
    return this.correlateAll(this.waiting.takeAll());
  }

  /** Up to `seq` there is no message that was not processed. */
  pass(seq: number): void {
    this.nextSeq = Math.max(this.nextSeq, seq + 1);
    this.finishRebuild(this.nextSeq);
  }

  private readonly isAhead = ({ host, batch }: Early): boolean => this.join.isAhead(host, batch);

  private accept(message: BusMessage): readonly Outbound[] {
    const arrived = readEvents(message);
    if ('reason' in arrived) return this.refuse(message, arrived);
    const one = { ...arrived, message };
    const output = [...this.correlateAll(this.waiting.takeEarlierRun(one))];
    if (this.isAhead(one)) {
      if (!this.rebuilding) this.early++;
      return [...output, ...this.correlateAll(this.waiting.hold(one))];
    }
    for (let next: Early | undefined = one; next; next = this.waiting.takeNext(one, this.isAhead))
      output.push(...this.correlate(next));
    return output;
  }

  private correlateAll(batches: readonly Early[]): readonly Outbound[] {
    return batches.flatMap((one) => this.correlate(one));
  }

  private correlate(one: Early): readonly Outbound[] {
    return this.guarded(one.message, () => this.outputOf(one));
  }

  private guarded(message: BusMessage, work: () => readonly Outbound[]): readonly Outbound[] {
    try {
      return work();
    } catch (error) {
      return this.refuse(message, { reason: 'failed', detail: String(error) }, error);
    }
  }

  private outputOf({ message, host, batch }: Early): readonly Outbound[] {
    const { seq } = message;
    const joined = this.join.accept(host, batch, seq);
    const { flows, requests, ledger } = joined;
    if (flows.length === 0 && requests.length === 0 && ledger.length === 0) return NOTHING;
    const context = {
      host,
      idPrefix: `${this.streamId}.${seq}`,
      replay: joined.uncertain || seq <= this.takeover.uncertainThrough,
    };
    const out: Outputs = { messages: [], oversize: 0 };
    flowMessages(flows, context, out);
    requestMessages(requests, context, out);
    ledgerMessage(ledger, context, out);
    if (out.oversize === 0) return out.messages;
    this.oversizeRows += out.oversize;
    const detail = `${out.oversize} rows larger than a message may be`;
    return [...out.messages, ...this.refuse(message, { reason: 'oversize', detail })];
  }

  private refuse(message: BusMessage, refusal: Refusal, error?: unknown): readonly Outbound[] {
    if (this.rebuilding) return NOTHING; // set aside before the checkpoint was written
    const { reason, detail } = refusal;
    this.refused[reason]++;
    this.onRefusal(message, refusal, error);
    return [deadLetter('correlator', message, reason, detail, `${this.streamId}.${message.seq}.d`)];
  }

  private finishRebuild(nextSeq: number): void {
    if (!this.rebuilding || nextSeq < this.takeover.emitFrom) return;
    this.correlateAll(this.waiting.takeAll()); // the predecessor waited no longer
    this.rebuilding = false;
    this.join.resumed();
  }
}
