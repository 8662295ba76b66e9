// Heartbeat of every service: `flowtag.status.<role>.<instance>`, every 5 s.
import { z } from 'zod';
import { decode } from './codec.ts';

export const STATUS_SCHEMA = 'status.v1';

export const status = z.object({
  v: z.literal(1),
  role: z.enum(['capture', 'correlator', 'sink']),
  instance: z.string().min(1),
  host: z.string().min(1),
  version: z.string(),
  timeNs: z.bigint(),
  startedNs: z.bigint(),
  state: z.enum(['starting', 'ready', 'degraded', 'stopping']),
  /** capture: by which kernel hooks it sees sockets, and why not by others. */
  backend: z.string().optional(),
  /** What the operator should know, in words: targets that cannot be probed, a bus that is away. */
  notes: z.array(z.string()),
  /** Cumulative since start; names as in the ledger. */
  counters: z.record(z.string(), z.number()),
});
export type Status = z.infer<typeof status>;

/** Undefined for anything else on the subject: some other version's business. */
export function readStatus({ schema, data }: { schema: string; data: Uint8Array }): Status | undefined {
  if (schema !== STATUS_SCHEMA) return undefined;
  const beat = decode(status, data);
  return typeof beat === 'string' ? undefined : beat;
}
