// The section of docs/accuracy.md that comes from a run in virtual machines: flowtag beside the script that it grew
// from. Pure.

import { percent } from '../accuracy/report.ts';
import { type Level, precision, recall } from '../support/accuracy.ts';
import type { Run, SideBySideResult } from './result.ts';

const BEGIN = '<!-- from test:kernels: begin -->';
const END = '<!-- from test:kernels: end -->';

/** The page with this section in the place of the one that it has, else at its end. */
export function withSection(page: string, section: string): string {
  const old = sectionOf(page);
  return old === '' ? `${page.trimEnd()}\n\n${section}\n` : page.replace(old, () => section);
}

/** With its marks; '' when the page has none. */
export function sectionOf(page: string): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  return from < 0 || to < from ? '' : page.slice(from, to + END.length);
}

export function scriptSection(runs: readonly Run[], argv: readonly string[]): string {
  const done = runs.flatMap(({ result }) => (result?.sideBySide?.backends ? [result] : []));
  const { clients, requests, cases } = done[0]!.sideBySide!;
  return [
    BEGIN,
    '## Beside the script with kprobes',
    '',
    'The two-probe script that this project grew from (a uprobe on `serverHandler.ServeHTTP`, a kprobe on `tcp_connect`, keyed',
    'by process: [test/kernels/article.bt](../test/kernels/article.bt)) and all of flowtag’s backends, at once on the same',
    `server under the same load: ${clients} clients at once, ${requests} requests of each of ${cases!.join(', ')}. Written by`,
    '',
    '```sh',
    `npm run test:kernels -- ${argv.join(' ')}`,
    '```',
    '',
    'Cells are precision / recall in percent, as above.',
    '',
    '| kernel | who | dials | | uses | | wrong |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...done.flatMap(({ release, sideBySide }) => rowsOf(release, sideBySide!)),
    '',
    ...done.map(({ release, sideBySide }) => `${release}: ${sameness(sideBySide!)}.`),
    END,
  ].join('\n');
}

function rowsOf(release: string, { script, backends = [] }: SideBySideResult): string[] {
  const row = (who: string, dial: Level, uses: string[], wrong: number): string =>
    `| ${[release, who, dial.of, both(dial), ...uses, wrong].join(' | ')} |`;
  return [
    row('the script', script!.dial, ['–', 'not seen'], script!.dial.wrong),
    ...backends.map(({ backend, seesUses, use, dial, wrong }) =>
      row(
        `flowtag, ${backend}`,
        dial,
        seesUses ? [String(use.of), both(use)] : ['–', 'not seen'],
        wrong + dial.wrong,
      ),
    ),
  ];
}

function sameness(result: SideBySideResult): string {
  const { backends = [] } = result;
  const blind = backends.filter(({ seesUses }) => !seesUses).map(({ backend }) => backend);
  const of = blind.length === 0 ? 'flows' : `flows (of ${blind.join(', ')} those of new connections)`;
  const differences = differencesOf(result);
  return differences.length === 0 ? `all backends give the same ${of}` : differences.join('; ');
}

/** What does not hold of flowtag, each in a sentence; of the script everything is news. */
export function deviationsOfScript({ kernel, result }: Run): string[] {
  const sideBySide = result?.sideBySide;
  if (sideBySide === undefined) return [];
  const { failure, backends = [] } = sideBySide;
  if (failure !== undefined) return [`${kernel}, beside the script: ${failure}`];
  const isBad = ({ use, dial, wrong, seesUses }: (typeof backends)[number]): boolean =>
    wrong + dial.wrong > 0 || dial.found < dial.of || (seesUses && use.found < use.of);
  return [
    ...backends.filter(isBad).map(({ backend, problems }) => `${backend}: ${problems[0]}`),
    ...differencesOf(sideBySide),
  ].map((problem) => `${kernel}, beside the script: ${problem}`);
}

/** Flows that one backend gives and another does not, each in a sentence; of one that sees no uses, connects alone. */
export function differencesOf({ backends = [] }: SideBySideResult): string[] {
  return backends.flatMap((one) =>
    backends.flatMap((other) => {
      const isShared = (flow: string): boolean => (one.seesUses && other.seesUses) || flow.startsWith('new ');
      const theirs = new Set(other.flows);
      const missing = one.flows.filter((flow) => isShared(flow) && !theirs.has(flow));
      return missing.length === 0
        ? []
        : [`${other.backend} lacks ${missing.length} flows of ${one.backend}, the first: ${missing[0]}`];
    }),
  );
}

function both(level: Level): string {
  return `${percent(precision(level))} / ${percent(recall(level))}`;
}
