// The value behind a partition's position: where to go on, and what cannot be rebuilt by reading again.
import { z } from 'zod';
import { decode, pack } from '../../schemas/codec.ts';
import { count, type JoinState, joinState } from './join-state.ts';

const checkpoint = z
  .object({
    v: z.literal(1),
    /** When the event stream was created: positions mean nothing in another one. */
    created: z.string(),
    /** Sequence of the first message whose rows have not been given out. */
    emitFrom: count,
    /** Sequence of the first message to be read again to rebuild the join. */
    replayFrom: count,
    join: joinState,
  })
  .refine(({ replayFrom, emitFrom }) => replayFrom <= emitFrom, 'replayFrom lies behind emitFrom')
  .refine(({ join }) => join.carried.every(({ boot }) => boot < join.boots.length), 'a request of no boot');
export type Checkpoint = Readonly<Omit<z.infer<typeof checkpoint>, 'v'>>;

export interface EncodedCheckpoint {
  readonly bytes: Uint8Array;
  /** Requests left out. */
  readonly overflow: number;
  /** Boots whose missing batches, or all of which, were left out. */
  readonly bootsCut: number;
}

/** The bus takes messages of 1 MiB by default, headers included. */
const MAX_BYTES = 768 * 1024;

/** Always small enough for the bus: carries fewer and fewer requests, in the end none and less of the quietest boots. */
export function encodeCheckpoint(
  position: Omit<Checkpoint, 'join'>,
  stateWith: (maxCarried: number) => JoinState,
  maxCarried: number,
): EncodedCheckpoint {
  for (let most = maxCarried; ; most = Math.floor(most / 2)) {
    const join = stateWith(most);
    const { overflow } = join;
    const bytes = pack({ v: 1, ...position, join });
    if (bytes.length <= MAX_BYTES) return { bytes, overflow, bootsCut: 0 };
    if (most > 0) continue;
    const { boots, bootsCut } = cutBoots(join.boots, bytes.length - MAX_BYTES);
    return { bytes: pack({ v: 1, ...position, join: { ...join, boots } }), overflow, bootsCut };
  }
}

/** The checkpoint, or in words why the bytes are not one. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint | string {
  return decode(checkpoint, bytes);
}

type Boots = JoinState['boots'];

/**
 * Takes off `excess` bytes, from the quietest on. Without its missing ranges a boot's late batches cannot be told from
 * repeats: they are processed and say so. Only when that is not enough (names near their limit) are boots forgotten,
 * as if they had been silent for too long.
 */
function cutBoots(all: Boots, excess: number): { boots: Boots; bootsCut: number } {
  const boots = [...all];
  let left = excess;
  let cut = 0;
  for (let i = 0; i < boots.length && left > 0; i++) {
    const boot = boots[i]!;
    if (boot.sequence.missing.length === 0 && boot.books.length <= 1) continue;
    boots[i] = lean(boot);
    left -= pack(boot).length - pack(boots[i]).length;
    cut++;
  }
  let forgotten = 0;
  while (left > 0 && forgotten < boots.length) left -= pack(boots[forgotten++]).length;
  return { boots: boots.slice(forgotten), bootsCut: Math.max(cut, forgotten) };
}

/** Without missing ranges, and with the books of its newest run alone: the last row of others has been given out. */
function lean(boot: Boots[number]): Boots[number] {
  const { sequence, books } = boot;
  const floor = sequence.missing.at(-1)?.[1] ?? sequence.floor;
  return { ...boot, sequence: { ...sequence, floor, missing: [] }, books: books.slice(-1) };
}
