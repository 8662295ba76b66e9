// Do the books of a boot add up? docs/ledger.md has the terms. Pure.
import { type Counts, type LedgerAnswer, readCounts } from '../../schemas/ledger.ts';

export interface RunBalance {
  readonly sinceNs: bigint;
  readonly uptoNs: bigint;
  readonly counts: Counts;
  /** Events that hooks saw. */
  readonly captured: number;
  /** Given up on the host, by stage and reason. */
  readonly dropped: number;
  /** Arrived at the correlator. */
  readonly received: number;
  /** captured − dropped − received: on its way while the run goes on, lost when another has begun. */
  readonly missing: number;
}

export interface BootBalance {
  readonly host: string;
  readonly boot: string;
  /** Oldest first. */
  readonly runs: readonly RunBalance[];
  readonly flows: number;
  readonly flowsStored: number;
  readonly requests: number;
  readonly requestsStored: number;
  /** Missing of runs that ended: nothing of it will come. */
  readonly lost: number;
  /** Not stored yet, and nothing says that it is lost. */
  readonly inFlight: number;
  /** In words, what cannot be: empty when everything is accounted for or on its way. */
  readonly problems: readonly string[];
}

/** One for each host and boot, in the order of the rows. Rows whose counts cannot be read are a problem of their boot. */
export function balancesOf(rows: readonly LedgerAnswer[]): BootBalance[] {
  const boots = new Map<string, LedgerAnswer[]>();
  for (const row of rows) {
    const key = `${row['host.name']}\0${row['flowtag.boot']}`;
    boots.set(key, [...(boots.get(key) ?? []), row]);
  }
  return [...boots.values()].map(balanceOfBoot);
}

function balanceOfBoot(rows: readonly LedgerAnswer[]): BootBalance {
  const runs = rows
    .map(balanceOfRun)
    .sort((a, b) => (a.sinceNs < b.sinceNs ? -1 : Number(a.sinceNs > b.sinceNs)));
  const total = (count: (run: RunBalance) => number): number =>
    runs.reduce((sum, run) => sum + count(run), 0);
  const flows = total(({ counts }) => counts.flows ?? 0);
  const requests = total(({ counts }) => counts.requests ?? 0);
  const flowsStored = rows[0]!['flowtag.ledger.flows_stored'] ?? 0;
  const requestsStored = rows[0]!['flowtag.ledger.requests_stored'] ?? 0;
  const ended = runs.slice(0, -1);
  return {
    host: rows[0]!['host.name'] ?? '',
    boot: rows[0]!['flowtag.boot'] ?? '',
    runs,
    flows,
    flowsStored,
    requests,
    requestsStored,
    lost: ended.reduce((sum, { missing }) => sum + Math.max(0, missing), 0),
    inFlight: Math.max(0, runs.at(-1)!.missing) + Math.max(0, flows - flowsStored),
    problems: [
      ...runs.flatMap(problemsOfRun),
      ...surplus('flows', flows, flowsStored),
      ...surplus('finished requests', requests, requestsStored),
    ],
  };
}

function balanceOfRun(row: LedgerAnswer): RunBalance {
  const counts = readCounts(row['flowtag.ledger.counts'] ?? '') ?? { unreadable: 1 };
  const captured = sumOf(counts, 'captured.');
  const dropped = sumOf(counts, 'dropped.');
  const received = sumOf(counts, 'received.');
  return {
    sinceNs: row['flowtag.run'] ?? 0n,
    uptoNs: row.time ?? 0n,
    counts,
    captured,
    dropped,
    received,
    missing: captured - dropped - received,
  };
}

function problemsOfRun({ counts, captured, dropped, received, missing }: RunBalance): string[] {
  if (counts.unreadable) return ['its books cannot be read: made by another version'];
  if (counts.first_batch)
    return [`its books begin with batch ${counts.first_batch}: those before were not there to be read`];
  const problems: string[] = [];
  if (counts.lost_batches)
    problems.push(
      `${counts.lost_batches} batches did not arrive: the bus discarded them, or they were set aside`,
    );
  if (counts.uncertain_batches)
    problems.push(`${counts.uncertain_batches} batches may have been counted twice`);
  if (missing < 0)
    problems.push(
      `${dropped} events are told as dropped and ${received} arrived, of ${captured}: its spool is not empty yet, or it crashed`,
    );
  const joined = sumOf(counts, '', JOINED);
  const sockets = counts['received.kprobe'] ?? 0;
  if (joined > sockets || joined + (counts.unknown ?? 0) < sockets)
    problems.push(`of ${sockets} socket events ${joined} are accounted for`);
  return problems;
}

/** What becomes of a socket event. */
const JOINED = ['flows', 'merged', 'inbound', 'closes'];

function surplus(what: string, given: number, stored: number): string[] {
  return stored > given ? [`${stored} ${what} are stored, of ${given} that were made`] : [];
}

function sumOf(counts: Counts, prefix: string, names?: readonly string[]): number {
  return Object.entries(counts)
    .filter(([name]) => (names === undefined ? name.startsWith(prefix) : names.includes(name)))
    .reduce((sum, [, count]) => sum + count, 0);
}
