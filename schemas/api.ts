// Look-ups over the bus: `flowtag.api.<verb>`, request and reply, answered by the sink.
import { z } from 'zod';

export const API_SCHEMA = 'api.v1';

const end = z.object({ address: z.string().min(2).max(45), port: z.number().int().min(1).max(65_535) });
export type Endpoint = z.infer<typeof end>;

/** Rows of the newest flows, oldest first, that satisfy every filter given. */
export const flowsQuery = z.strictObject({
  v: z.literal(1),
  last: z.number().int().min(1).max(10_000),
  sinceNs: z.bigint().optional(),
  untilNs: z.bigint().optional(),
});
export type FlowsQuery = z.infer<typeof flowsQuery>;

/** Exactly one of `ends` (one or two, in either order), `traceId`, `path` or `communityId`. */
export const lookupQuery = z
  .strictObject({
    v: z.literal(1),
    ends: z.array(end).min(1).max(2).optional(),
    traceId: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    path: z.string().min(1).max(4096).optional(),
    communityId: z
      .string()
      .regex(/^1:[A-Za-z0-9+/]{27}=$/)
      .optional(),
    atNs: z.bigint().optional(),
    windowNs: z.bigint().positive(),
    limit: z.number().int().min(1).max(10_000),
  })
  .refine(
    (query) =>
      [query.ends, query.traceId, query.path, query.communityId].filter((key) => key !== undefined).length ===
      1,
    'exactly one of ends, traceId, path, communityId',
  );
export type LookupQuery = z.infer<typeof lookupQuery>;

/** `rows` is a packed rows message (rows.ts); `error` says why there is none. */
export const apiReply = z.object({
  v: z.literal(1),
  rows: z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not bytes').optional(),
  error: z.string().optional(),
  /** Of rows that are more than one answer can carry: how many to ask for. */
  fit: z.number().int().positive().optional(),
});
export type ApiReply = z.infer<typeof apiReply>;
