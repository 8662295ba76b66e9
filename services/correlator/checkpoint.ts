// The value behind a partition's position: where to go on, and what cannot be rebuilt by reading again.
import { z } from 'zod';
import { pack, unpack } from '../../schemas/codec.ts';
import type { JoinState } from './join-state.ts';

export interface Checkpoint {
  /** When the event stream was created: positions mean nothing in another one. */
  readonly created: string;
  /** Sequence of the first message whose rows have not been given out. */
  readonly emitFrom: number;
  /** Sequence of the first message to be read again to rebuild the join. */
  readonly replayFrom: number;
  readonly join: JoinState;
}

/** The bus takes messages of 1 MiB by default, headers included. */
const MAX_BYTES = 768 * 1024;

const text = z.string().nullable();
const count = z.number().int().nonnegative();
const requestRecord = z.object({
  boot: count,
  id: count,
  key: z.string(),
  process: z.object({
    pid: count,
    name: text,
    path: text,
    createdNs: z.bigint().nullable(),
    service: text,
    container: text,
  }),
  startNs: z.bigint(),
  goid: count.nullable(),
  method: text,
  path: text,
  query: text,
  serverAddress: text,
  clientAddress: text,
  clientPort: count.nullable(),
  traceId: text,
  spanId: text,
  order: count,
  endNs: z.bigint(),
  status: z.number().int(),
  flows: count,
  reported: z.boolean(),
});
const bootRecord = z.object({
  host: z.string(),
  boot: z.string(),
  watermarkNs: z.bigint(),
  fallenId: count,
  sequence: z.object({
    sinceNs: z.bigint(),
    last: count,
    floor: count,
    missing: z.array(z.tuple([count, count])),
  }),
});
const checkpoint = z
  .object({
    v: z.literal(1),
    created: z.string(),
    emitFrom: count,
    replayFrom: count,
    join: z.object({
      boots: z.array(bootRecord),
      carried: z.array(requestRecord),
      overflow: count,
      evictedThrough: z.number().int().min(-1),
    }),
  })
  .refine(({ replayFrom, emitFrom }) => replayFrom <= emitFrom, 'replayFrom lies behind emitFrom')
  .refine(({ join }) => join.carried.every(({ boot }) => boot < join.boots.length), 'a request of no boot');

/** Asks for the state with fewer and fewer requests until the value is small enough for the bus. */
export function encodeCheckpoint(
  position: Omit<Checkpoint, 'join'>,
  stateWith: (maxCarried: number) => JoinState,
  maxCarried: number,
): { bytes: Uint8Array; overflow: number } {
  for (let most = maxCarried; ; most = Math.floor(most / 2)) {
    const join = stateWith(most);
    const bytes = pack({ v: 1, ...position, join });
    if (bytes.length <= MAX_BYTES || most === 0) return { bytes, overflow: join.overflow };
  }
}

/** The checkpoint, or in words why the bytes are not one. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint | string {
  let raw: unknown;
  try {
    raw = unpack(bytes);
  } catch (error) {
    return `not MessagePack: ${(error as Error).message}`;
  }
  const parsed = checkpoint.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  return `field ${issue.path.join('.') || '(whole)'}: ${issue.message}`;
}
