// The books as lines for a terminal, or as JSON. Pure.
import { type BootBalance, isClosed, type RunBalance } from './balance.ts';
import { escapeJson, escapeWord } from './escape.ts';
import { textTable } from './text-table.ts';
import { localDateTime, rfc3339 } from './time-text.ts';

const HEADER = [
  'HOST',
  'BOOT',
  'CAPTURED',
  'DROPPED',
  'LOST',
  'FLOWS',
  'STORED',
  'IN FLIGHT',
  'UP TO',
  'BOOKS',
];
const ALIGNS = [
  'left',
  'left',
  'right',
  'right',
  'right',
  'right',
  'right',
  'right',
  'left',
  'left',
] as const;

/** A table, and below each line why those books do not add up; with `wide` every count of every run. */
export function ledgerText(balances: readonly BootBalance[], wide: boolean): string[] {
  if (balances.length === 0) return [];
  const rows = balances.map((balance) => {
    const { host, boot, runs, lost, flows, flowsStored, inFlight } = balance;
    const sum = (count: (run: RunBalance) => number) => `${runs.reduce((all, run) => all + count(run), 0)}`;
    return [
      escapeWord(host),
      escapeWord(boot.slice(0, 8)),
      sum(({ captured }) => captured),
      sum(({ dropped }) => dropped),
      `${lost}`,
      `${flows}`,
      `${flowsStored ?? 'expired'}`,
      `${inFlight}`,
      localDateTime(runs.at(-1)!.uptoNs).slice(0, 19),
      isClosed(balance) ? 'add up' : balance.problems.length > 0 ? 'do not add up' : 'open',
    ];
  });
  const lines = textTable(ALIGNS, [HEADER, ...rows]);
  return [lines[0]!, ...balances.flatMap((balance, i) => [lines[i + 1]!, ...details(balance, wide)])];
}

function details({ runs, lost, problems }: BootBalance, wide: boolean): string[] {
  const said = problems.map((problem) => `  ${problem}`);
  if (lost > 0) said.push(`  ${lost} events were lost when a run of capture ended without an orderly stop`);
  if (!wide) return said;
  return [
    ...said,
    ...runs.map(({ sinceNs, counts }) => `  run since ${localDateTime(sinceNs)}: ${inWords(counts)}`),
  ];
}

function inWords(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${escapeWord(name)} ${count}`)
    .join(', ');
}

export function ledgerJson(balance: BootBalance): string {
  const { host, boot, runs, ...rest } = balance;
  return escapeJson(
    JSON.stringify({
      'host.name': host,
      'flowtag.boot': boot,
      balanced: isClosed(balance),
      ...rest,
      runs: runs.map(({ sinceNs, uptoNs, ...run }) => ({
        since: rfc3339(sinceNs),
        upto: rfc3339(uptoNs),
        ...run,
      })),
    }),
  );
}
