// The accuracy report as Markdown. Pure.
import { type Judgement, type Level, precision, recall, type Tally } from '../support/accuracy.ts';
import { type CaseResult, type SubjectResults, total } from './results.ts';
import type { Judgements } from './run-case.ts';

export interface Machine {
  readonly date: string;
  readonly command: string;
  readonly kernel: string;
  readonly processors: number;
  readonly node: string;
}

type Judged = CaseResult & { readonly judgements: Judgements };
const ASKED = ['flowtag', 'process', 'thread'] as const;
const MAX_EXAMPLES = 3;

export function report(results: readonly SubjectResults[], machine: Machine): string {
  const programs = [...new Set(results.map(({ program }) => program))];
  return [
    introduction(results, machine),
    summary(results),
    ...programs.map((program) =>
      section(
        program,
        results.filter((one) => one.program === program),
      ),
    ),
    outOfReach(results),
    deviations(results),
  ].join('\n');
}

function introduction(results: readonly SubjectResults[], machine: Machine): string {
  const cases = results.flatMap(({ cases }) => cases);
  const clients = [...new Set(cases.map((one) => one.clients))].join(', ');
  const requests = [...new Set(cases.map((one) => one.requests))].sort((a, b) => a - b).join(' or ');
  return `# Accuracy

Written by \`${machine.command}\`, ${machine.date}: Linux ${machine.kernel}, ${machine.processors} processors, Node ${machine.node};
${clients} clients at once, ${requests} requests a case, all through \`flowtag up\`.

The truth comes from both ends of each connection: the server that was called logs which request came over which
connection, the program under test which request made it dial ([test/targets](../test/targets/README.md)).

- **use**: which request was sent over which connection. **dial**: which request caused the connection to be opened.
- Cells are precision / recall in percent, rounded down. Precision: of the answers that name a request, those that a log
  backs (the same answer given again is wrong). Recall: of what the logs hold, what an answer names.
- **by process**, **by thread**: the rules of tools that key by pid or thread, on the very same events of the very same
  run: an event on a connection belongs to the latest request that began in that process, or on that thread.
- **callers**, **handlers**, **trace ids**: of the attributed flows, those that name function, file and line of the
  application's call, the handler, and the trace and span id that the request carried (or none), as the program says.
`;
}

function summary(results: readonly SubjectResults[]): string {
  const rows = results.map((one) => [
    `${one.program}, ${one.build}`,
    ...cells(one.cases.filter(isReachable).filter(isJudged)),
  ]);
  const text = 'All cases together, without those out of reach (below).';
  return `## Summary\n\n${text}\n\n${table(['program', ...HEAD], rows)}`;
}

function section(program: string, results: readonly SubjectResults[]): string {
  const builds = results.map(({ build }) => build).join(', ');
  const cases = results
    .flatMap((one) => one.cases)
    .filter(isReachable)
    .filter(isJudged);
  const names = [...new Set(cases.map((one) => one.case))];
  const rows = names.map((name) => [name, ...cells(cases.filter((one) => one.case === name))]);
  return `## ${program}\n\nBuilds: ${builds}.\n\n${table(['case', ...HEAD], rows)}`;
}

const HEAD = [
  ...['uses', 'flowtag', 'by process', 'by thread'],
  ...['dials', 'flowtag', 'by process', 'by thread'],
  ...['callers', 'handlers', 'trace ids'],
];

function cells(cases: readonly Judged[]): string[] {
  const said = ASKED.map((who) => total(cases.map(({ judgements }) => judgements[who])));
  const [flowtag] = said as [Judgement, Judgement, Judgement];
  const level = (name: 'use' | 'dial'): string[] => [
    String(flowtag[name].of ?? 0),
    ...said.map((one) => both(one[name])),
  ];
  const { caller, handler, trace } = flowtag.details;
  return [...level('use'), ...level('dial'), share(caller), share(handler), share(trace)];
}

/** What flowtag leaves out unless it is told to follow channels. */
function outOfReach(results: readonly SubjectResults[]): string {
  const cases = results
    .flatMap((one) => one.cases)
    .filter((one) => !isReachable(one))
    .filter(isJudged);
  const names = [...new Set(cases.map((one) => one.case))];
  const rows = names.map((name) => {
    const these = cases.filter((one) => one.case === name);
    const flowtag = total(these.map(({ judgements }) => judgements.flowtag));
    const reasons = reasonsOf(flowtag).join(', ') || 'none';
    return [name, these[0]!.outOfReach!, both(flowtag.use), both(flowtag.dial), reasons];
  });
  const head = ['case', 'why', 'uses', 'dials', 'flows without a request'];
  return `## Out of reach\n\nNever wrong; without a request, and with the reason.\n\n${table(head, rows)}`;
}

function deviations(results: readonly SubjectResults[]): string {
  const lines = results.flatMap(({ program, build, cases }) =>
    cases.flatMap((one) => deviationOf(one).map((text) => `- ${program}, ${build}, ${one.case}: ${text}`)),
  );
  return `## Not as it should be\n\n${lines.join('\n') || 'Nothing.'}\n`;
}

/** In words; empty when all is well. */
export function deviationOf(one: CaseResult): string[] {
  if (!isJudged(one)) return [one.failure ?? 'not run'];
  const { flowtag, lost } = one.judgements;
  const { use, dial, wrong, repeated, details } = flowtag;
  const faults = [
    [wrong, 'wrong'],
    [dial.wrong, 'dials wrong'],
    [repeated, 'said twice'],
    [isReachable(one) ? use.of - use.found : 0, 'uses missed'],
    [isReachable(one) ? dial.of - dial.found : 0, 'dials missed'],
    [details.caller.of - details.caller.right, 'callers wrong'],
    [details.handler.of - details.handler.right, 'handlers wrong'],
    [details.trace.of - details.trace.right, 'trace ids wrong'],
    [lost, 'events lost and counted'],
  ] as const;
  const found = faults.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  if (found.length === 0) return [];
  if (use.found < use.of || dial.found < dial.of) found.push(...reasonsOf(flowtag));
  // Of a case out of reach, what nobody names is expected.
  const examples = flowtag.problems.filter((text) => isReachable(one) || !text.startsWith('nobody names'));
  return [[found.join(', '), ...examples.slice(0, MAX_EXAMPLES)].join('; ')];
}

/** One line for the terminal. */
export function lineOf(one: CaseResult): string {
  if (!isJudged(one)) return `FAILED: ${one.failure}`;
  const text = (judgement: Judgement): string => `use ${both(judgement.use)} dial ${both(judgement.dial)}`;
  const { flowtag, process, thread } = one.judgements;
  const of = `${flowtag.use.of} uses, ${flowtag.dial.of} dials`;
  const asked = `flowtag ${text(flowtag)} | by process ${text(process)} | by thread ${text(thread)}`;
  const { caller, handler, trace } = flowtag.details;
  return `${of} | ${asked} | callers ${share(caller)} handlers ${share(handler)} traces ${share(trace)}`;
}

function reasonsOf({ unnamed }: Judgement): string[] {
  return Object.entries(unnamed).map(([reason, count]) => `${count} none/${reason}`);
}

function isJudged(one: CaseResult): one is Judged {
  return one.judgements !== undefined;
}

function isReachable(one: CaseResult): boolean {
  return one.outOfReach === undefined;
}

function both(level: Level): string {
  return level.of ? `${percent(precision(level))} / ${percent(recall(level))}` : '–';
}

function share({ of, right }: Tally): string {
  return percent(of ? right / of : undefined);
}

/** Rounded down, so that 100 means all. */
export function percent(value: number | undefined): string {
  return value === undefined ? '–' : String(Math.floor(value * 10_000) / 100);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |\n`;
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}
