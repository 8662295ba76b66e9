// The truth of a host against what is stored of it, row by row. Pure.
import { type HostTruth, LOST_EVENT, rowKey, type Told } from './truth.ts';

export interface Audit {
  /** Rows that must be there. */
  readonly expected: number;
  readonly lostFlows: number;
  readonly lostRequests: number;
  /** Rows beyond the first of the same id. */
  readonly duplicated: number;
  /** Rows with another fact than the truth, or of which the truth knows nothing. */
  readonly wrong: number;
  /** Right as far as they go, and they say that something is missing: lost_event, or fewer flows of a request. */
  readonly incomplete: number;
  /** The first few of each, in words. */
  readonly examples: readonly string[];
}

const EXAMPLES = 3;

export function audit(host: string, truth: HostTruth, stored: Iterable<Told>): Audit {
  const seen = new Set<string>();
  const found: Record<Exclude<keyof Audit, 'expected' | 'examples'>, string[]> = {
    lostFlows: [],
    lostRequests: [],
    duplicated: [],
    wrong: [],
    incomplete: [],
  };
  for (const row of stored) {
    const key = rowKey(row.table, row.id);
    const told = truth.certain.get(key) ?? truth.doubtful.get(key);
    const verdict = seen.has(key) ? 'duplicated' : told ? compare(row, told) : 'wrong';
    // The crash may have fallen between the batches of the drain: it ended, and its last flows were not handed on.
    const isExcused = verdict === 'incomplete' && !truth.certain.has(key);
    if (verdict !== 'right' && !isExcused)
      found[verdict].push(`${verdict}: ${host} ${say(row)}, the truth: ${told && say(told)}`);
    seen.add(key);
  }
  for (const [key, told] of truth.certain)
    if (!seen.has(key))
      found[told.table === 'flows' ? 'lostFlows' : 'lostRequests'].push(`lost: ${host} ${say(told)}`);
  return {
    expected: truth.certain.size,
    lostFlows: found.lostFlows.length,
    lostRequests: found.lostRequests.length,
    duplicated: found.duplicated.length,
    wrong: found.wrong.length,
    incomplete: found.incomplete.length,
    examples: Object.values(found).flatMap((some) => some.slice(0, EXAMPLES)),
  };
}

export function total(audits: readonly Audit[]): Audit {
  const sum = (of: (one: Audit) => number): number => audits.reduce((all, one) => all + of(one), 0);
  return {
    expected: sum(({ expected }) => expected),
    lostFlows: sum(({ lostFlows }) => lostFlows),
    lostRequests: sum(({ lostRequests }) => lostRequests),
    duplicated: sum(({ duplicated }) => duplicated),
    wrong: sum(({ wrong }) => wrong),
    incomplete: sum(({ incomplete }) => incomplete),
    examples: audits.flatMap(({ examples }) => examples).slice(0, 5 * EXAMPLES),
  };
}

function compare(row: Told, told: Told): 'right' | 'wrong' | 'incomplete' {
  if (row.facts !== told.facts) return 'wrong';
  if (row.joined === told.joined) return 'right';
  const admits = row.table === 'flows' ? row.joined === LOST_EVENT : Number(row.joined) < Number(told.joined);
  return admits ? 'incomplete' : 'wrong';
}

function say({ table, id, facts, joined }: Told): string {
  return `${table} ${id} ${facts} | ${joined}`;
}
