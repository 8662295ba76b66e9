// The ledger as the store has it: the newest books of each run, and beside them what of their boot is stored.
import {
  LEDGER_ANSWER_FIELDS,
  type LedgerAnswer,
  type LedgerQuery,
  type LedgerRow,
} from '../../schemas/ledger.ts';
import { encodeRows } from '../../schemas/rows.ts';
import { ledgerQuery, storedQuery } from './queries.ts';
import { decodeRow } from './row-binary.ts';
import { FLOWS, LEDGER, REQUESTS } from './schema.ts';
import type { Store } from './store-client.ts';

/** Clocks are set back: what a run captured may bear a time before its start. */
const MARGIN_NS = 3_600_000_000_000n;
/** Digits of an id that name the boot. */
const BOOT_DIGITS = 16;

/** Packed rows, those of a host together. `keptSinceNs`: what is older has left the store. */
export async function ledgerRows(query: LedgerQuery, store: Store, keptSinceNs: bigint): Promise<Uint8Array> {
  const { sql, params } = ledgerQuery(query);
  const cells = await store.query(sql, params);
  const rows = hostsHeardOf(
    cells.map((row) => decodeRow(LEDGER, row) as LedgerRow),
    query.sinceNs ?? 0n,
  );
  const runs = rows.map((row) => row['flowtag.run'] ?? 0n);
  const fromNs = runs.reduce((first, run) => (run < first ? run : first), runs[0] ?? 0n) - MARGIN_NS;
  const count = async (table: typeof FLOWS | typeof REQUESTS): Promise<Map<string, number>> => {
    const stored = storedQuery(table, query, fromNs);
    return new Map(
      (await store.query(stored.sql, stored.params)).map(([boot, count]) => [String(boot), Number(count)]),
    );
  };
  const [flows, requests] = [await count(FLOWS), await count(REQUESTS)];
  const expired = new Set(rows.filter((row) => (row['flowtag.run'] ?? 0n) < keptSinceNs).map(bootOf));
  const answers = rows.map((row): LedgerAnswer => {
    const boot = bootOf(row);
    return {
      ...row,
      'flowtag.ledger.flows_stored': expired.has(boot) ? null : (flows.get(boot) ?? 0),
      'flowtag.ledger.requests_stored': expired.has(boot) ? null : (requests.get(boot) ?? 0),
    };
  });
  return encodeRows(LEDGER_ANSWER_FIELDS, answers);
}

/** All runs of hosts of which there are books since then: counts are cumulative over all of them. */
function hostsHeardOf(rows: readonly LedgerRow[], sinceNs: bigint): LedgerRow[] {
  const heard = new Set(rows.filter((row) => (row.time ?? 0n) >= sinceNs).map((row) => row['host.name']));
  return rows.filter((row) => heard.has(row['host.name']));
}

function bootOf(row: LedgerRow): string {
  return row['flowtag.ledger.id']!.slice(0, BOOT_DIGITS);
}
