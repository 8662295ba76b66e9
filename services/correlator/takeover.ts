// Where a new owner of a partition begins.
import type { Checkpoint } from './checkpoint.ts';
import type { JoinState } from './join-state.ts';

export interface StreamState {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly created: string;
}

export interface Takeover {
  /** First message to read. */
  readonly replayFrom: number;
  /** First message whose rows are given out; those before only rebuild the join. */
  readonly emitFrom: number;
  /** Rows of messages up to this one may have been published by a predecessor, who died before he could say so. */
  readonly uncertainThrough: number;
  readonly join: JoinState | undefined;
  readonly because: 'no checkpoint' | 'checkpoint' | 'stream was created anew' | 'stream lost its end';
}

export function planTakeover(saved: Checkpoint | undefined, stream: StreamState): Takeover {
  const uncertainThrough = stream.lastSeq;
  const because = reasonOf(saved, stream);
  if (saved === undefined || because !== 'checkpoint') {
    // An empty stream has no first message; sequences begin at 1.
    const first = Math.max(1, stream.firstSeq);
    return { replayFrom: first, emitFrom: first, uncertainThrough, join: undefined, because };
  }
  const { replayFrom, emitFrom, join } = saved;
  return { replayFrom, emitFrom, uncertainThrough, join, because };
}

function reasonOf(saved: Checkpoint | undefined, stream: StreamState): Takeover['because'] {
  if (saved === undefined) return 'no checkpoint';
  if (saved.created !== stream.created) return 'stream was created anew';
  return saved.emitFrom > stream.lastSeq + 1 ? 'stream lost its end' : 'checkpoint';
}
