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
  /** Of these flows; undefined when some are older than what the store keeps. */
  readonly flowsStored: number | undefined;
  readonly requests: number;
  readonly requestsStored: number | undefined;
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
  const newestRun = new Map<string, bigint>();
  for (const row of rows) {
    const host = row['host.name'] ?? '';
    const key = `${host}\0${row['flowtag.boot']}`;
    const ofBoot = boots.get(key);
    if (ofBoot === undefined) boots.set(key, [row]);
    else ofBoot.push(row);
    const run = row['flowtag.run'] ?? 0n;
    if (run >= (newestRun.get(host) ?? run)) newestRun.set(host, run);
  }
  return [...boots.values()].map((ofBoot) =>
    balanceOfBoot(ofBoot, newestRun.get(ofBoot[0]!['host.name'] ?? '')!),
  );
}

/** Everything is accounted for, and nothing on its way. */
export function isClosed({ inFlight, problems }: BootBalance): boolean {
  return inFlight === 0 && problems.length === 0;
}

/** `newestRun`: of the host; runs before it have ended. */
function balanceOfBoot(rows: readonly LedgerAnswer[], newestRun: bigint): BootBalance {
  const runs = rows.map(balanceOfRun).sort((a, b) => Number(a.sinceNs - b.sinceNs));
  const total = (count: (run: RunBalance) => number): number =>
    runs.reduce((sum, run) => sum + count(run), 0);
  const flows = total(({ counts }) => counts.flows ?? 0);
  const requests = total(({ counts }) => counts.requests ?? 0);
  const flowsStored = rows[0]!['flowtag.ledger.flows_stored'] ?? undefined;
  const requestsStored = rows[0]!['flowtag.ledger.requests_stored'] ?? undefined;
  const late = (run: RunBalance): number => Math.max(0, run.missing);
  return {
    host: rows[0]!['host.name'] ?? '',
    boot: rows[0]!['flowtag.boot'] ?? '',
    runs,
    flows,
    flowsStored,
    requests,
    requestsStored,
    lost: total((run) => (run.sinceNs < newestRun ? late(run) : 0)),
    inFlight:
      total((run) => (run.sinceNs < newestRun ? 0 : late(run))) +
      unstored(flows, flowsStored) +
      unstored(requests, requestsStored),
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
  const problems = unjoined(counts);
  if (counts.names_left_out) problems.push('its host told more kinds of counts than are kept');
  if (counts.uncertain_batches)
    problems.push(`${counts.uncertain_batches} batches may have been counted twice`);
  // Batches that the host dropped itself leave a gap, too: their events are accounted for.
  if (missing === 0) return problems;
  if (counts.first_batch)
    problems.push(`its books begin with batch ${counts.first_batch}: those before were not there to be read`);
  if (counts.lost_batches)
    problems.push(
      `${counts.lost_batches} batches did not arrive: the bus discarded them, or they were set aside`,
    );
  if (missing < 0)
    problems.push(
      `${dropped} events are told as dropped and ${received} arrived, of ${captured}: its spool is not empty yet, or it crashed`,
    );
  return problems;
}

/** What becomes of a socket event. */
const FATES = ['flows', 'merged', 'inbound', 'closes'];

function unjoined(counts: Counts): string[] {
  const joined = FATES.reduce((sum, fate) => sum + (counts[fate] ?? 0), 0);
  const sockets = counts['received.kprobe'] ?? 0;
  if (joined <= sockets && joined + (counts.unknown ?? 0) >= sockets) return [];
  return [`of ${sockets} socket events ${joined} are accounted for`];
}

function unstored(given: number, stored: number | undefined): number {
  return stored === undefined ? 0 : Math.max(0, given - stored);
}

function surplus(what: string, given: number, stored: number | undefined): string[] {
  return stored !== undefined && stored > given
    ? [`${stored} ${what} are stored, of ${given} that were made`]
    : [];
}

function sumOf(counts: Counts, prefix: string): number {
  return Object.entries(counts)
    .filter(([name]) => name.startsWith(prefix))
    .reduce((sum, [, count]) => sum + count, 0);
}
