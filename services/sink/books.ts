// The ledger as the store has it: the newest books of each run, and beside them what of its boot is stored.
import {
  LEDGER_ANSWER_FIELDS,
  type LedgerAnswer,
  type LedgerQuery,
  type LedgerRow,
} from '../../schemas/ledger.ts';
import { encodeRows } from '../../schemas/rows.ts';
import { ledgerQuery, storedByBoot } from './queries.ts';
import { decodeRow } from './row-binary.ts';
import { FLOWS, LEDGER, REQUESTS } from './schema.ts';
import type { Store } from './store-client.ts';

/** Clocks are set back: what a run captured may bear a time before its start. */
const MARGIN_NS = 3_600_000_000_000n;
/** Digits of an id that name the boot. */
const BOOT_DIGITS = 16;

/** Packed rows. What is stored is counted whatever the query says of time: it stands beside cumulative counts. */
export async function ledgerRows(query: LedgerQuery, store: Store): Promise<Uint8Array> {
  const { sql, params } = ledgerQuery(query);
  const rows = (await store.query(sql, params)).map((cells) => decodeRow(LEDGER, cells) as LedgerRow);
  const runs = rows.map((row) => row['flowtag.run'] ?? 0n);
  const fromNs = runs.reduce((first, run) => (run < first ? run : first), runs[0] ?? 0n) - MARGIN_NS;
  const flows = await stored(FLOWS, fromNs, store);
  const requests = await stored(REQUESTS, fromNs, store);
  const answers = rows.map((row): LedgerAnswer => {
    const boot = row['flowtag.ledger.id']!.slice(0, BOOT_DIGITS);
    return {
      ...row,
      'flowtag.ledger.flows_stored': flows.get(boot) ?? 0,
      'flowtag.ledger.requests_stored': requests.get(boot) ?? 0,
    };
  });
  return encodeRows(LEDGER_ANSWER_FIELDS, answers);
}

async function stored(
  table: typeof FLOWS | typeof REQUESTS,
  fromNs: bigint,
  store: Store,
): Promise<Map<string, number>> {
  const { sql, params } = storedByBoot(table, fromNs);
  return new Map((await store.query(sql, params)).map(([boot, rows]) => [String(boot), Number(rows)]));
}
