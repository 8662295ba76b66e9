// One row of the fault table: load from all hosts, the fault in the middle of it, quiet, and the audit.
import { setTimeout as sleep } from 'node:timers/promises';
import { type BootBalance, balancesOf, isClosed } from '../../services/cli/balance.ts';
import { type Link, openLink } from '../support/link.ts';
import { type Audit, audit, total } from './audit.ts';
import type { Host, Rig } from './rig.ts';
import { countsSql, readTruth, storedRowsSql, type Told, truthPath } from './truth.ts';

export interface Scene {
  readonly rig: Rig;
  readonly hosts: Host[];
  /** Between the first host and the bus. */
  readonly link: Link;
  /** Of faults that take a while. */
  readonly awayMs: number;
}

export interface Row {
  readonly name: string;
  /** What happens, as the page says it. */
  readonly title: string;
  readonly fault: (scene: Scene) => Promise<void>;
  /** Hosts that the fault needs when it touches hosts alone: rows of other hosts may run beside it. */
  readonly touchesHosts?: number;
  /** Of host number `n`, counted from 0. */
  readonly clockOffsetMs?: (n: number) => number;
  /** Needs a cluster of NATS servers. */
  readonly cluster?: boolean;
  /** What hosts publish arrives twice and late. */
  readonly unruly?: boolean;
  /** The first host's spool is so small that it overflows: what is lost is counted. */
  readonly overflows?: boolean;
}

export interface Plan {
  readonly hosts: number;
  readonly loadMs: number;
  readonly awayMs: number;
}

export interface Outcome extends Audit {
  readonly name: string;
  readonly title: string;
  readonly flows: number;
  readonly flowsPerSecond: number;
  /** The longest time in which nothing new of some host was stored, while it was under load. */
  readonly longestGapMs: number;
  /** Socket events that hosts dropped at a bound, and counted. */
  readonly countedLost: number;
  readonly resent: number;
  /** Hosts whose books do not add up, in words. */
  readonly unbalanced: readonly string[];
  /** Services that died of the fault although it was not they that were killed. */
  readonly died: number;
}

/** In words, what of an outcome must not be; empty when the row holds. */
export function breaches({ overflows }: Row, outcome: Outcome): string[] {
  const { lostFlows, lostRequests, duplicated, wrong, incomplete, countedLost } = outcome;
  const must: [string, number, number][] = [
    ['flows lost, against those counted', lostFlows, countedLost],
    ['duplicated', duplicated, 0],
    ['wrong', wrong, 0],
    ['books that do not add up', outcome.unbalanced.length, 0],
    ['services that died', outcome.died, 0],
  ];
  if (!overflows)
    must.push(
      ['counted as lost', countedLost, 0],
      ['requests lost', lostRequests, 0],
      ['incomplete', incomplete, 0],
    );
  return must
    .filter(([, is, should]) => is !== should)
    .map(([what, is, should]) => `${what}: ${is}, not ${should}`);
}

const POLL_MS = 250;
/** Nothing new for this long: all is stored; when something is missing, we wait longer for it. */
const QUIET_MS = 3_000;
const PATIENCE_MS = 90_000;
const BOOKS_MS = 20_000;
/** A name that needs encoding on the bus. */
const ODD_NAME = 'nöde b.example';
export const SPOOL_BYTES = 256 << 20;
/** How often capture of a busy host drains its ring: 17 flows each time. */
export const DRAIN_MS = 50;
/** What is on its way to the bus (512 messages, over a MiB of these) is not dropped: only what comes beyond it can be. */
const OVERFLOWING = { spoolBytes: 2 << 20, drainMs: 5 };

export async function runRow(rig: Rig, row: Row, plan: Plan): Promise<Outcome> {
  const prefix = `${row.name}.`;
  const link = await openLink(rig.nats.port);
  const start = (_: unknown, n: number): Promise<Host> =>
    rig.startHost({
      server: n === 0 ? `nats://127.0.0.1:${link.port}` : rig.url,
      host: `${prefix}${n === 0 ? ODD_NAME : n}`,
      clockOffsetMs: row.clockOffsetMs?.(n) ?? 0,
      unruly: row.unruly ?? false,
      ...(n === 0 && row.overflows ? OVERFLOWING : { spoolBytes: SPOOL_BYTES, drainMs: DRAIN_MS }),
    });
  const startMs = performance.now();
  const hosts = await Promise.all(Array.from({ length: plan.hosts }, start));
  const gaps = watchGaps(rig, prefix);
  const scene = { rig, hosts, link, awayMs: plan.awayMs };
  await sleep(plan.loadMs / 3);
  await row.fault(scene);
  await sleep(Math.max(plan.loadMs / 5, startMs + plan.loadMs - performance.now()));
  const loadMs = performance.now() - startMs;
  const longestGapMs = await gaps.stop();
  const ends = await Promise.all(hosts.map((host) => rig.endHost(host)));
  link.close();
  if (!ends.every(({ flushed }) => flushed))
    throw new Error(`a host could not publish all that it had: ${JSON.stringify(ends)}`);
  const audited = await auditHosts(rig, prefix, hosts, row.overflows === true);
  return {
    name: row.name,
    title: row.title,
    ...audited,
    flowsPerSecond: Math.round((1_000 * audited.flows) / loadMs),
    longestGapMs,
    countedLost: ends.reduce((sum, one) => sum + one.countedLost, 0),
    resent: ends.reduce((sum, { resent }) => sum + resent, 0),
    unbalanced: await unbalanced(rig, prefix),
    died: rig.missing(),
  };
}

/** Once nothing more is stored of them. `prefix`: of their names; `hasLost`: it is not all that will come. */
export async function auditHosts(
  rig: Rig,
  prefix: string,
  hosts: readonly Host[],
  hasLost = false,
): Promise<Audit & { readonly flows: number }> {
  const truths = new Map(hosts.map(({ options }) => [options.host, readTruth(truthPath(options))]));
  const expected = [...truths.values()].reduce((sum, { certain }) => sum + certain.size, 0);
  await quiet(rig, prefix, hasLost ? 0 : expected);
  const audits: Audit[] = [];
  for (const [host, truth] of truths) audits.push(audit(host, truth, await stored(rig, host)));
  const flows = [...truths.values()].reduce((sum, { certain }) => sum + flowCount(certain.keys()), 0);
  return { ...total(audits), flows };
}

/** As `flowtag ledger` has them; the last books are stored a little after the last flows. */
async function unbalanced(rig: Rig, prefix: string): Promise<string[]> {
  const deadline = performance.now() + BOOKS_MS;
  for (;;) {
    const all = balancesOf(await rig.ledger()).filter(({ host }) => host.startsWith(prefix));
    const open = all.filter((balance) => !isClosed(balance));
    if (all.length > 0 && open.length === 0) return [];
    if (performance.now() > deadline) return all.length === 0 ? ['there are none'] : open.map(inWords);
    await sleep(POLL_MS);
  }
}

function inWords({ host, inFlight, problems, runs }: BootBalance): string {
  return `${host}: ${inFlight} in flight; ${problems.join('; ')}; ${JSON.stringify(runs.map(({ counts }) => counts))}`;
}

async function stored(rig: Rig, host: string): Promise<Told[]> {
  const rows: Told[] = [];
  for (const table of ['flows', 'requests'] as const)
    for (const [id, facts, joined] of await rig.sql(storedRowsSql(table, host)))
      rows.push({ table, id: id!, facts: facts!, joined: joined! });
  return rows;
}

function flowCount(keys: Iterable<string>): number {
  let flows = 0;
  for (const key of keys) if (key.startsWith('flows ')) flows++;
  return flows;
}

/** Rows by host; none while the store is away. */
async function counts(rig: Rig, prefix: string): Promise<Map<string, number>> {
  const rows = await rig.sql(countsSql(prefix)).catch(() => []);
  return new Map(rows.map(([host, count]) => [host!, Number(count)]));
}

async function quiet(rig: Rig, prefix: string, expected: number): Promise<void> {
  let before = -1;
  let sinceMs = performance.now();
  for (;;) {
    const now = [...(await counts(rig, prefix)).values()].reduce((sum, count) => sum + count, 0);
    if (now !== before) sinceMs = performance.now();
    before = now;
    if (performance.now() - sinceMs > (now >= expected ? QUIET_MS : PATIENCE_MS)) return;
    await sleep(POLL_MS);
  }
}

function watchGaps(rig: Rig, prefix: string): { stop(): Promise<number> } {
  const last = new Map<string, { count: number; atMs: number }>();
  let longestMs = 0;
  let stopping = false;
  const look = async (): Promise<void> => {
    while (!stopping) {
      const now = await counts(rig, prefix);
      for (const [host, count] of now) {
        const known = last.get(host);
        if (known?.count === count) continue;
        if (known !== undefined) longestMs = Math.max(longestMs, performance.now() - known.atMs);
        last.set(host, { count, atMs: performance.now() });
      }
      await sleep(POLL_MS);
    }
    // What has not come again by now is a gap that still goes on.
    for (const { atMs } of last.values()) longestMs = Math.max(longestMs, performance.now() - atMs);
  };
  const looking = look();
  return {
    async stop() {
      stopping = true;
      await looking;
      return Math.round(longestMs);
    },
  };
}
