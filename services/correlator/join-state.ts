// What a successor needs besides the messages it reads again: the join's part of a checkpoint. Only here are its
// fields named: what the join remembers of requests, processes and sequences is of these types.
import { z } from 'zod';

const text = z.string().nullable();
export const count = z.number().int().nonnegative();

const process = z.object({
  pid: count,
  name: text,
  path: text,
  createdNs: z.bigint().nullable(),
  service: text,
  container: text,
  // A checkpoint of 0.1.0 lacks these.
  namespace: text.default(null),
  podName: text.default(null),
  podUid: text.default(null),
});
export type Process = Readonly<z.infer<typeof process>>;

const request = z.object({
  /** Unique on its boot, and rising. */
  id: count,
  /** `flowtag.request.id`. */
  key: z.string(),
  process,
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
  /** Position of the start in the stream: message, then row. */
  order: count,
  /** 0n while it is open. */
  endNs: z.bigint(),
  /** As in the events: HTTP status, 0 unknown, -1 aborted. */
  status: z.number().int(),
  /** Those with a verdict other than none. */
  flows: count,
  /** Connections (socket cookies) that gave a flow, oldest first. */
  connections: z.array(z.bigint()).readonly().default([]),
  /** Its row has been given out. */
  reported: z.boolean(),
});
/** The facts of a request's start, and what has happened since. */
export type RequestRecord = z.infer<typeof request>;

const carriedRequest = request.extend({
  /** Index in `boots`. */
  boot: count,
});
export type CarriedRequest = Readonly<z.infer<typeof carriedRequest>>;

const sequence = z.object({
  /** Start of capture's run; the numbers begin at 1 with each run. 0n: nothing seen yet. */
  sinceNs: z.bigint(),
  last: count,
  /** Numbers up to this one are not remembered one by one. */
  floor: count,
  /** Ranges not seen, oldest first: from, to (inclusive). */
  missing: z.array(z.tuple([count, count])),
});
export type SequenceState = Readonly<z.infer<typeof sequence>>;

/** Of the runs of capture on one boot, oldest first. */
const books = z.array(
  z.object({
    sinceNs: z.bigint(),
    counts: z.record(z.string(), z.number().int()),
    uptoNs: z.bigint(),
    rowNs: z.bigint(),
    changed: z.boolean(),
  }),
);
export type BooksState = z.infer<typeof books>;

export const joinState = z.object({
  /** The quietest first. */
  boots: z.array(
    z.object({
      host: z.string(),
      boot: z.string(),
      watermarkNs: z.bigint(),
      fallenId: count,
      sequence,
      books: books.default([]), // 0.1.0 kept none
    }),
  ),
  /** Requests still joinable whose start lies before the messages to be read again, oldest first. */
  carried: z.array(carriedRequest),
  /** Those among them that were more than may be carried: lost to the successor. */
  overflow: count,
  /** Starts up to this position fell off because too many requests were remembered. */
  evictedThrough: z.number().int().min(-1),
});
export type JoinState = Readonly<z.infer<typeof joinState>>;
