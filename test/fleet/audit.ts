// The truth of a host against what is stored of it, row by row. Pure.
import { type HostTruth, rowKey, type TableName } from './truth.ts';

export interface StoredRow {
  readonly table: TableName;
  readonly id: string;
  readonly facts: string;
}

export interface Audit {
  /** Rows that must be there. */
  readonly expected: number;
  readonly lost: number;
  /** Rows beyond the first of the same id. */
  readonly duplicated: number;
  /** Rows with another fact than the truth, or of which the truth knows nothing. */
  readonly wrong: number;
  /** The first few of each, in words. */
  readonly examples: readonly string[];
}

const EXAMPLES = 3;

export function audit(host: string, truth: HostTruth, stored: Iterable<StoredRow>): Audit {
  const seen = new Set<string>();
  const problems = { lost: [] as string[], duplicated: [] as string[], wrong: [] as string[] };
  for (const { table, id, facts } of stored) {
    const key = rowKey(table, id);
    const told = truth.certain.get(key) ?? truth.doubtful.get(key);
    if (seen.has(key)) problems.duplicated.push(`twice: ${host} ${key}`);
    else if (told === undefined) problems.wrong.push(`never happened: ${host} ${key} ${facts}`);
    else if (told !== facts) problems.wrong.push(`wrong: ${host} ${key} ${facts}, but it was ${told}`);
    seen.add(key);
  }
  for (const [key, facts] of truth.certain)
    if (!seen.has(key)) problems.lost.push(`lost: ${host} ${key} ${facts}`);
  return {
    expected: truth.certain.size,
    lost: problems.lost.length,
    duplicated: problems.duplicated.length,
    wrong: problems.wrong.length,
    examples: Object.values(problems).flatMap((some) => some.slice(0, EXAMPLES)),
  };
}

export function total(audits: readonly Audit[]): Audit {
  const sum = (of: (one: Audit) => number) => audits.reduce((all, one) => all + of(one), 0);
  return {
    expected: sum(({ expected }) => expected),
    lost: sum(({ lost }) => lost),
    duplicated: sum(({ duplicated }) => duplicated),
    wrong: sum(({ wrong }) => wrong),
    examples: audits.flatMap(({ examples }) => examples).slice(0, 4 * EXAMPLES),
  };
}
