// Writes a partition's checkpoint: each second, and on stop. A position is written only after everything that
// follows from the messages before it has been acknowledged.

import type { Outbound, Positions, Publisher } from '../runtime/bus.ts';
import { nowNs } from '../runtime/clock.ts';
import { BusError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import { encodeCheckpoint } from './checkpoint.ts';
import type { Join } from './join.ts';
import type { Pipeline } from './pipeline.ts';
import type { ReplayWindow } from './replay-window.ts';

export interface CheckpointParts {
  readonly key: string;
  readonly created: string;
  readonly positions: Positions;
  readonly publisher: Publisher;
  readonly pipeline: Pipeline;
  readonly join: Join;
  readonly window: ReplayWindow;
  readonly log: Logger;
  /** Publishes what batches give that waited in vain. */
  readonly give: (output: readonly Outbound[]) => void;
  /** Somebody else wrote: this process no longer owns the partition. */
  readonly onFenced: (error: BusError) => void;
}

const INTERVAL_MS = 1_000;
const ACKNOWLEDGE_MS = 5_000;
const MAX_CARRIED = 2_000;
/** While batches wait there is no position to go on from; a host must not keep it back for ever. */
const LONGEST_HELD_MS = 60_000;

export class CheckpointWriter {
  /** Requests that a successor would not know, of the last checkpoint. */
  overflow = 0;
  /** Boots of which a successor would know less, of the last checkpoint. */
  bootsCut = 0;
  written = 0;
  /** What keeps it from being written, in words. */
  problem: string | undefined = undefined;
  private readonly parts: CheckpointParts;
  private revision: number;
  private writing: Promise<void> | undefined;
  private position = '';
  private heldSinceMs: number | undefined;
  private abandoned = false;
  private readonly timer: NodeJS.Timeout;

  /** `revision`: of the checkpoint that was taken over, 0 when there was none. */
  constructor(parts: CheckpointParts, revision: number) {
    this.parts = parts;
    this.revision = revision;
    this.timer = setInterval(() => void this.write(), INTERVAL_MS);
  }

  /** One at a time; a call while one is under way waits for that one. What the bus refuses is tried again later. */
  write(): Promise<void> {
    this.writing ??= this.attempt().finally(() => {
      this.writing = undefined;
    });
    return this.writing;
  }

  /** No more from now on: rows were lost, and the position must stay before them. */
  abandon(): void {
    this.abandoned = true;
    clearInterval(this.timer);
  }

  /** The last one, of all that has been processed. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.writing;
    await this.write();
  }

  private async attempt(): Promise<void> {
    const { pipeline, join, window, publisher, positions, key, created } = this.parts;
    if (this.abandoned || pipeline.catchingUp) return; // the checkpoint that is there is still right
    join.expire(nowNs());
    if (this.isHeldBack(performance.now())) return;
    const emitFrom = pipeline.nextSeq;
    const replayFrom = window.advance(emitFrom, performance.now());
    const position = `${emitFrom} ${replayFrom}`;
    if (position === this.position) return;
    // Encoded before anything is waited for: the state must be that of `emitFrom`.
    const { bytes, overflow, bootsCut } = encodeCheckpoint(
      { created, emitFrom, replayFrom },
      (most) => join.state(replayFrom, most),
      MAX_CARRIED,
    );
    if (!(await publisher.flush(ACKNOWLEDGE_MS)))
      return this.note(`the bus did not acknowledge all rows within ${ACKNOWLEDGE_MS} ms`);
    if (this.abandoned) return;
    try {
      this.revision = await positions.set(key, bytes, this.revision);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      if (error.code === 'FENCED') this.parts.onFenced(error);
      return this.note(error.message);
    }
    this.position = position;
    this.overflow = overflow;
    this.bootsCut = bootsCut;
    this.written++;
    this.note(undefined);
  }

  private isHeldBack(nowMs: number): boolean {
    const { pipeline, give } = this.parts;
    give(pipeline.letGoStuck());
    if (pipeline.held > 0) {
      this.heldSinceMs ??= nowMs;
      if (nowMs - this.heldSinceMs < LONGEST_HELD_MS) return true;
      give(pipeline.letGo());
    }
    this.heldSinceMs = undefined;
    return false;
  }

  private note(problem: string | undefined): void {
    if (problem !== undefined && this.problem === undefined)
      this.parts.log.warn({ key: this.parts.key, problem }, 'checkpoint not written, trying again');
    if (problem === undefined && this.problem !== undefined)
      this.parts.log.info({ key: this.parts.key }, 'checkpoint written again');
    this.problem = problem;
  }
}
