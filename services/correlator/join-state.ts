// What a successor needs besides the messages it reads again: the join's part of a checkpoint.
import type { SequenceState } from './batch-sequence.ts';
import type { RequestRecord } from './request.ts';

export interface BootRecord {
  readonly host: string;
  readonly boot: string;
  readonly watermarkNs: bigint;
  readonly fallenId: number;
  readonly sequence: SequenceState;
}

export interface CarriedRequest extends RequestRecord {
  /** Index in `boots`. */
  readonly boot: number;
}

export interface JoinState {
  readonly boots: readonly BootRecord[];
  /** Requests still joinable whose start lies before the messages to be read again, oldest first. */
  readonly carried: readonly CarriedRequest[];
  /** Those among them that were more than may be carried: lost to the successor. */
  readonly overflow: number;
  /** Starts up to this position fell off because too many requests were remembered. */
  readonly evictedThrough: number;
}
