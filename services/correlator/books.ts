// The books of one boot, run by run: a deterministic function of its batches, so that whoever reads the stream comes to
// the same counts. Pure.
import type { EventBatch } from '../../schemas/events.ts';
import type { Counts, LEDGER_FIELDS, LedgerRow } from '../../schemas/ledger.ts';
import { fnv1a64 } from './ids.ts';
import type { JoinCounters } from './join-counters.ts';
import type { BooksState } from './join-state.ts';

/** Of a boot: what a spool holds of the run before comes ahead of this one's. Their last rows have been given out. */
const MAX_RUNS = 2;
const SECOND_NS = 1_000_000_000n;
/** A row at least this often, changed or not: it says that the host is covered. */
const QUIET_NS = 10n * SECOND_NS;

/** A host that makes up names in every batch must not fill checkpoints with them; a good one has some thirty. */
const MAX_NAMES = 256;

interface Run {
  readonly sinceNs: bigint;
  counts: Counts;
  /** Watermark of the last batch, and of the last row; 0n: none yet. */
  uptoNs: bigint;
  rowNs: bigint;
  changed: boolean;
}

/** What the join has counted, as far as the books are about it. */
export function entriesOf(counters: JoinCounters): Counts {
  const unattributed = Object.values(counters.unattributed).reduce((sum, count) => sum + count, 0);
  return {
    flows: counters.flowsOut,
    unattributed,
    merged: counters.usesMerged,
    inbound: counters.inboundUses,
    closes: counters.closes,
    unknown: counters.unknownRows,
    requests: counters.requestsOut,
    lost_batches: counters.lostBatches,
    uncertain_batches: counters.uncertainBatches,
  };
}

export class Books {
  private runs: Run[] = [];

  /**
   * Books one batch, and what it changed in the join's counters. Gives the rows that are due: that of its run and, when
   * a run begins, the last one of the run before, which may have ended at any moment.
   */
  enter(
    who: { readonly host: string; readonly boot: string; readonly idPrefix: string },
    batch: EventBatch,
    before: Counts,
    after: Counts,
  ): LedgerRow[] {
    const previous = this.runs.at(-1);
    const run = this.runOf(batch);
    if (run === undefined) return []; // of a run whose books are closed: it repeats or is late by a whole run
    const counts: Record<string, number> = { ...run.counts };
    const add = (name: string, count: number): void => {
      if (count !== 0) counts[name] = (counts[name] ?? 0) + count;
    };
    add(`received.${batch.kind}`, batch.n);
    for (const [name, count] of Object.entries(after)) add(name, count - before[name]!);
    const told = {
      ...prefixed('captured', batch.ledger.captured),
      ...prefixed('dropped', batch.ledger.dropped),
    };
    // They only grow: a batch that comes late tells less than those before it.
    for (const [name, count] of Object.entries(told)) {
      if (count <= (counts[name] ?? -1)) continue;
      run.changed = true;
      if (!(name in counts) && Object.keys(counts).length >= MAX_NAMES) {
        add('names_left_out', 1);
        continue;
      }
      counts[name] = count;
    }
    if (batch.n > 0 || after.lost_batches !== before.lost_batches) run.changed = true;
    run.counts = counts;
    run.uptoNs = batch.uptoNs;
    const newest = this.runs.at(-1);
    const ended = newest === previous ? undefined : previous;
    const rows = ended?.changed ? [row(who, ended, 'end')] : [];
    // A batch that was missing may come as the last of all.
    const isComplete = after.lost_batches! < before.lost_batches! && counts.lost_batches === 0;
    const due = isComplete ? isCovered(counts) : isDue(run, batch);
    if (run !== newest ? run.changed : due) rows.push(row(who, run, batch.seq));
    return rows;
  }

  state(): BooksState {
    return this.runs.map((run) => ({ ...run, counts: { ...run.counts } }));
  }

  restore(state: BooksState): void {
    this.runs = state.map((run) => ({ ...run }));
  }

  private runOf({ ledger: { sinceNs }, seq }: EventBatch): Run | undefined {
    const known = this.runs.find((run) => run.sinceNs === sinceNs);
    if (known) return known;
    if (this.runs.length === MAX_RUNS && sinceNs < this.runs[0]!.sinceNs) return undefined;
    // A run that was not seen from its beginning cannot add up.
    const counts: Counts = seq > 1 ? { first_batch: seq } : {};
    const run: Run = { sinceNs, counts, uptoNs: 0n, rowNs: 0n, changed: true };
    this.runs = [...this.runs, run].sort(bySince).slice(-MAX_RUNS);
    return run;
  }
}

function isDue({ rowNs, changed, counts }: Run, { uptoNs, n }: EventBatch): boolean {
  // An empty batch comes when the host is idle, and as the last one: the books are complete then.
  if (n === 0 && changed && isCovered(counts)) return true;
  // Any other second, not only a later one: a host's clock may be set back.
  if (uptoNs / SECOND_NS === rowNs / SECOND_NS) return false;
  if (uptoNs < rowNs) return true;
  // What a host says of itself is a little older than its events: the next batches make up for it, or it is wrong.
  const waitNs = isCovered(counts) ? QUIET_NS : 2n * QUIET_NS;
  return (changed && isCovered(counts)) || uptoNs - rowNs >= waitNs;
}

/** No more has arrived than the host says that it captured and did not drop. */
function isCovered(counts: Counts): boolean {
  let left = 0;
  for (const [name, count] of Object.entries(counts)) {
    if (name.startsWith('captured.')) left += count;
    else if (name.startsWith('dropped.') || name.startsWith('received.')) left -= count;
  }
  return left >= 0;
}

function bySince(a: Run, b: Run): number {
  return a.sinceNs < b.sinceNs ? -1 : 1;
}

function row(
  { host, boot, idPrefix }: { host: string; boot: string; idPrefix: string },
  run: Run,
  occasion: number | 'end',
): LedgerRow {
  const { uptoNs } = run;
  run.rowNs = uptoNs;
  run.changed = false;
  return {
    'flowtag.ledger.id': idPrefix + fnv1a64(`${run.sinceNs} ${occasion}`),
    time: uptoNs,
    'host.name': host,
    'flowtag.boot': boot,
    'flowtag.run': run.sinceNs,
    'flowtag.ledger.counts': JSON.stringify(sorted(run.counts)),
  } satisfies Record<keyof typeof LEDGER_FIELDS, unknown>;
}

/** A replay must give the same bytes. */
function sorted(counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function prefixed(prefix: string, counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}.${name}`, count]));
}
