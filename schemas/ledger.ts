// The books of one run of capture on one boot of one host: what the host saw, what of it arrived and what became of
// that. `flowtag.ledger.<host>`; docs/ledger.md says what must add up.
import { z } from 'zod';
import type { RowOf } from './rows.ts';

export const LEDGER_SCHEMA = 'ledger.v1';

export const LEDGER_FIELDS = {
  /** The first half names the boot, as in the ids of its flows. */
  'flowtag.ledger.id': 'string',
  /** The host's watermark: the books are those of all batches up to it. */
  time: 'time',
  'host.name': 'string',
  'flowtag.boot': 'string',
  /** Start of the run: everything is counted from it. */
  'flowtag.run': 'time',
  /** A JSON object of cumulative counts by name. */
  'flowtag.ledger.counts': 'string',
} as const;
export type LedgerRow = RowOf<typeof LEDGER_FIELDS>;

/** The newest books of a run, and the rows of its boot in the store now. */
export const LEDGER_ANSWER_FIELDS = {
  ...LEDGER_FIELDS,
  'flowtag.ledger.flows_stored': 'number',
  'flowtag.ledger.requests_stored': 'number',
} as const;
export type LedgerAnswer = RowOf<typeof LEDGER_ANSWER_FIELDS>;

export type Counts = Readonly<Record<string, number>>;

const counts = z.record(z.string(), z.number().int());

/** The counts of a row; undefined when they are not what they should be. */
export function readCounts(text: string): Counts | undefined {
  try {
    return counts.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** The newest books of every run, or of those of one host, that were made in a span of time. */
export const ledgerQuery = z.strictObject({
  v: z.literal(1),
  host: z.string().min(1).max(255).optional(),
  sinceNs: z.bigint().optional(),
  untilNs: z.bigint().optional(),
});
export type LedgerQuery = z.infer<typeof ledgerQuery>;
