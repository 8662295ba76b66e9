// docs/support-matrix.md: what works on which kernel, from the results of a run. Pure.
import { type BackendResult, NO_SENDS, type RightsResult, type Run, UNSUPPORTED } from './result.ts';

const HEAD = ['kernel', 'backend', 'Go', 'uprobes', 'connects', 'uses of open connections', 'wrong'];

const RIGHTS_HEAD = ['kernel', 'backend', 'uprobes', 'perf_event_paranoid', 'capabilities'];

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
    ...rightsSection(runs),
  ].join('\n');
}

/** Nothing when the run did not try them. */
function rightsSection(runs: readonly Run[]): string[] {
  const rows = runs.flatMap(({ result }) =>
    (result?.rights ?? []).map((one) => [result!.release, ...rightsCells(one)]),
  );
  if (rows.length === 0) return [];
  return [
    '## Rights',
    '',
    'What capture needs as an ordinary user: with these capabilities it attaches, and without any one of them it does not',
    'and says which is missing. Perf events depend on `kernel.perf_event_paranoid`: 3 is the default of Debian, 2 that of Linux.',
    '',
    line(RIGHTS_HEAD),
    line(RIGHTS_HEAD.map(() => '---')),
    ...rows.map(line),
    '',
  ];
}

function rightsCells({ backend, uprobes, paranoid, needed }: RightsResult): string[] {
  return [backend, uprobes, String(paranoid), needed.map((name) => `\`CAP_${name}\``).join(', ')];
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
