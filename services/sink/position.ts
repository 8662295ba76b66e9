// How far the stream is stored, and how a new owner goes on. Pure.
import { z } from 'zod';
import { decode, pack } from '../../schemas/codec.ts';
import type { Boundary } from './block.ts';

const position = z.object({
  v: z.literal(1),
  /** When the stream was created: its sequences mean nothing in another one. */
  created: z.string(),
  /** Raised when the stream lost its end, so that sequences come a second time and tokens must not. */
  epoch: z.number().int().nonnegative(),
  /** Where the rows are; not in positions of earlier versions. */
  store: z.string().optional(),
  /** Everything before it is stored. */
  next: z.number().int().positive(),
  /** Written before its insert: the block a new owner must repeat exactly. */
  block: z.object({ first: z.number().int().positive(), last: z.number().int().positive() }).optional(),
});
export type Position = z.infer<typeof position>;

export interface StreamState {
  readonly created: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}
export interface Start {
  readonly created: string;
  readonly epoch: number;
  readonly startSeq: number;
  readonly fixed: Boundary | undefined;
  /** Constant sentence for the log. */
  readonly why: string;
}

export function encodePosition(value: Position): Uint8Array {
  return pack(value);
}

/** Undefined when the bytes are not one. */
export function decodePosition(bytes: Uint8Array): Position | undefined {
  const decoded = decode(position, bytes);
  return typeof decoded === 'string' ? undefined : decoded;
}

export function planStart(known: Position | undefined, stream: StreamState): Start {
  const { created } = stream;
  const firstSeq = Math.max(1, stream.firstSeq);
  const fresh = { created, epoch: 0, startSeq: firstSeq, fixed: undefined };
  if (!known) return { ...fresh, why: 'no position yet, from the first message' };
  if (known.created !== stream.created)
    return { ...fresh, why: 'stream was created anew, from its first message' };
  const { epoch, next, block } = known;
  if (next > stream.lastSeq + 1 || (block && block.last > stream.lastSeq))
    // A server that lost power may lose the newest messages; what comes now reuses their sequences.
    return {
      created,
      epoch: epoch + 1,
      startSeq: Math.min(next, stream.lastSeq + 1),
      fixed: undefined,
      why: 'stream lost its end',
    };
  const startSeq = Math.max(next, firstSeq);
  if (block && block.last >= startSeq)
    return { created, epoch, startSeq, fixed: block, why: 'a block was begun, repeated exactly' };
  return { created, epoch, startSeq, fixed: undefined, why: 'from the position' };
}

/** The store that has the rows up to the position, when that is another one than `storeId`. */
export function otherStore(
  known: Position | undefined,
  stream: StreamState,
  storeId: string,
): string | undefined {
  return known?.created === stream.created && known.store !== storeId ? known.store : undefined;
}

/** Names the same rows on every attempt; plain characters only, it becomes part of the INSERT. */
export function blockToken(created: string, epoch: number, { first, last }: Boundary): string {
  const stream = epoch === 0 ? created : `${created}#${epoch}`;
  return `${stream.replace(/[^\w:.#+-]/g, '_')}:${first}-${last}`;
}
