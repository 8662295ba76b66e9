// docs/support-matrix.md: what works on which kernel, from the results of a run. Pure.
import { type BackendResult, NO_SENDS, type Run, UNSUPPORTED } from './result.ts';

const HEAD = ['kernel', 'backend', 'Go', 'uprobes', 'connects', 'uses of open connections', 'wrong'];

export function matrixPage(runs: readonly Run[], argv: readonly string[]): string {
  const rows = runs.flatMap(rowsOf);
  return [
    '# Kernels',
    '',
    'Which kernels flowtag works on, and by which hooks it sees sockets there (`--backend`). Generated from a run in virtual',
    'machines with the kernels of Debian 11, 12 and 13:',
    '',
    '```sh',
    `npm run test:kernels -- ${argv.join(' ')}`,
    '```',
    '',
    'Found of those that the program and its downstream logged: connections made, and requests that were sent on connections',
    'that were open already. `auto` takes the tracepoints where they show a send before it begins (Linux 6.16), else fentry,',
    'else the tracepoints where they show it afterwards (Linux 6.3), else kprobes, else the tracepoints.',
    '',
    line(HEAD),
    line(HEAD.map(() => '---')),
    ...rows.map(line),
    '',
    '`npm test` runs on the kernel that it finds.',
    '',
  ].join('\n');
}

function rowsOf({ kernel, result, failure }: Run): string[][] {
  if (result === undefined) return [[kernel, failure ?? 'no result', '–', '–', '–', '–', '–']];
  const { release } = result;
  if (kernel in UNSUPPORTED)
    return [[release, `unsupported: ${UNSUPPORTED[kernel]}; doctor says so`, '–', '–', '–', '–', '–']];
  return result.backends.map((one) => [release, ...cellsOf(one, NO_SENDS[kernel] ?? 'it should be')]);
}

function cellsOf(
  { wanted, failure, goVersion, uprobes, seesUses, cases = [] }: BackendResult,
  reason: string,
): string[] {
  if (failure !== undefined) return [wanted, failure.split('\n')[0]!, '–', '–', '–', '–'];
  const total = (count: (one: (typeof cases)[number]) => number): number =>
    cases.reduce((sum, one) => sum + count(one), 0);
  const uses = seesUses
    ? `${total(({ use }) => use.found)} of ${total(({ use }) => use.of)}`
    : `not seen: ${reason}`;
  return [
    wanted,
    goVersion!,
    uprobes!,
    `${total(({ dial }) => dial.found)} of ${total(({ dial }) => dial.of)}`,
    uses,
    String(total(({ wrong, dial }) => wrong + dial.wrong)),
  ];
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
