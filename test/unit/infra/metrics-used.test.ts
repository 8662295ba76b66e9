// Alert rules and the dashboard against docs/metrics.md: what they ask for exists, with the labels that they use.
import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { parse } from 'yaml';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string };
}

const RULES = (
  parse(readFileSync('infra/prometheus/alerts.yaml', 'utf8')) as { groups: { rules: Rule[] }[] }
).groups
  .flatMap(({ rules }) => rules)
  .map(({ alert, expr, annotations }) => [alert, expr, annotations.summary] as const);
const DASHBOARD = JSON.parse(readFileSync('infra/grafana/flowtag.json', 'utf8'));
const PANELS = (
  DASHBOARD.panels as { title: string; targets: { expr: string; legendFormat: string }[] }[]
).flatMap(({ title, targets }) =>
  targets.map(({ expr, legendFormat }) => [title, expr, legendFormat] as const),
);

const METRICS = documented();
const PROCESS = ['up', 'process_resident_memory_bytes', 'process_cpu_seconds_total'];
const ALWAYS = ['host', 'instance', 'job'];

/** Name to labels. */
function documented(): Map<string, readonly string[]> {
  const rows = readFileSync('docs/metrics.md', 'utf8').matchAll(
    /^\| `(\w+)` \| (?:counter|gauge) \| (.*?) \|/gm,
  );
  return new Map([...rows].map(([, name, labels]) => [name!, labels!.match(/\w+/g) ?? []]));
}

/** The metrics of an expression and the labels that it filters or groups by. */
function used(expr: string): { names: string[]; labels: string[] } {
  const bare = expr.replaceAll(/"[^"]*"/g, '""');
  const grouped = [...bare.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/,\s*/));
  const filtered = [...bare.matchAll(/(\w+)\s*[=!]~?""/g)].map(([, label]) => label!);
  const words = bare.replaceAll(/\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)/g, ' ').match(/\b[a-z]\w*\b/g) ?? [];
  const names = words.filter((word) => !/^(sum|rate|increase|deriv|and|or|vector)$/.test(word));
  return { names, labels: [...grouped, ...filtered] };
}

test('the reader of expressions sees names and labels', () => {
  expect(
    used('sum by (a, b) (increase(flowtag_x_total{c="by (d)"}[5m])) / vector(0) > 0 or up{job!~"e"}'),
  ).toEqual({
    names: ['flowtag_x_total', 'up'],
    labels: ['a', 'b', 'c', 'job'],
  });
});

describe.each([
  ['alert', RULES],
  ['panel', PANELS],
] as const)('%s', (_, uses) => {
  it.each(uses)('%s asks for what there is: %s', (_title, expr, text) => {
    const { names, labels } = used(expr);
    expect(names).not.toEqual([]);
    const known = (name: string): boolean => METRICS.has(name) || PROCESS.includes(name);
    expect(names.filter((name) => !known(name))).toEqual([]);
    const theirs = [...ALWAYS, ...names.flatMap((name) => METRICS.get(name) ?? [])];
    expect(labels.filter((label) => !theirs.includes(label))).toEqual([]);
    const shown = [...text.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)].map(([, label]) => label!);
    const left = /\bby \(/.test(expr) ? labels : expr.startsWith('sum(') ? [] : theirs;
    expect(shown.filter((label) => !left.includes(label))).toEqual([]);
  });
});

test('every way to lose something has an alert', () => {
  const alerts = RULES.map(([, expr]) => expr).join('\n');
  const losses = [...METRICS.keys()].filter((name) => /_dropped_(events|batches|messages)_total$/.test(name));
  // What the correlator drops of events is no loss: repeats, and ends whose start was lost, which is counted before.
  const alarming = losses.filter((name) => name !== 'flowtag_correlator_dropped_events_total');
  expect(alarming.filter((name) => !alerts.includes(name))).toEqual([]);
});
