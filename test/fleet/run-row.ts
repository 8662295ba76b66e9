// One row of the fault table: load from all hosts, the fault in the middle of it, quiet, and the audit.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Audit, audit, type StoredRow, total } from './audit.ts';
import type { Host, Rig } from './rig.ts';
import { countsSql, readTruth, storedRowsSql } from './truth.ts';

export interface Scene {
  readonly rig: Rig;
  /** In the order of their names; a fault that starts one again puts it back. */
  readonly hosts: Host[];
  /** Of faults that take a while. */
  readonly awayMs: number;
}

export interface Row {
  readonly name: string;
  /** What happens, as the page says it. */
  readonly title: string;
  readonly fault: (scene: Scene) => Promise<void>;
  /** Of host number `n`, counted from 0. */
  readonly clockOffsetMs?: (n: number) => number;
}

export interface Plan {
  readonly hosts: number;
  readonly loadMs: number;
  readonly awayMs: number;
}

export interface Outcome extends Audit {
  readonly name: string;
  readonly flows: number;
  readonly flowsPerSecond: number;
  /** The longest time in which nothing new of some host was stored, while it was under load. */
  readonly longestGapMs: number;
  /** Dropped by hosts at a bound, and counted. */
  readonly countedLost: number;
  readonly resent: number;
}

const POLL_MS = 250;
/** Nothing new for this long: all is stored; when something is missing, we wait longer for it. */
const QUIET_MS = 3_000;
const PATIENCE_MS = 30_000;
/** A name that needs encoding on the bus. */
const ODD_NAME = 'nöde b.example';

export async function runRow(rig: Rig, row: Row, plan: Plan): Promise<Outcome> {
  const prefix = `${row.name}.`;
  const start = (_: unknown, n: number): Promise<Host> =>
    rig.startHost({ host: `${prefix}${n === 0 ? ODD_NAME : n}`, clockOffsetMs: row.clockOffsetMs?.(n) ?? 0 });
  const hosts = await Promise.all(Array.from({ length: plan.hosts }, start));
  const startMs = performance.now();
  const gaps = watchGaps(rig, prefix);
  const scene = { rig, hosts, awayMs: plan.awayMs };
  await sleep(plan.loadMs / 3);
  await row.fault(scene);
  await sleep(Math.max(plan.loadMs / 5, startMs + plan.loadMs - performance.now()));
  const loadMs = performance.now() - startMs;
  const longestGapMs = await gaps.stop();
  const ends = await Promise.all(hosts.map((host) => rig.endHost(host)));
  if (!ends.every(({ flushed }) => flushed)) throw new Error('a host could not publish all that it had');
  const truths = new Map(hosts.map(({ options }) => [options.host, readTruth(options.truthPath)]));
  const expected = [...truths.values()].reduce((sum, { certain }) => sum + certain.size, 0);
  await quiet(rig, prefix, expected);
  const audits: Audit[] = [];
  for (const [host, truth] of truths) audits.push(audit(host, truth, await stored(rig, host)));
  const flows = [...truths.values()].reduce((sum, { certain }) => sum + flowsOf(certain.keys()), 0);
  return {
    name: row.name,
    ...total(audits),
    flows,
    flowsPerSecond: Math.round((1_000 * flows) / loadMs),
    longestGapMs,
    countedLost: ends.reduce((sum, { dropped }) => sum + dropped, 0),
    resent: ends.reduce((sum, { resent }) => sum + resent, 0),
  };
}

async function stored(rig: Rig, host: string): Promise<StoredRow[]> {
  const rows: StoredRow[] = [];
  for (const table of ['flows', 'requests'] as const)
    for (const [id, facts] of await rig.sql(storedRowsSql(table, host)))
      rows.push({ table, id: id!, facts: facts! });
  return rows;
}

function flowsOf(keys: Iterable<string>): number {
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
