// One flow as one line. Pure: colours are an argument.
import type picocolors from 'picocolors';
import { formatEndpoint } from '../../schemas/ip-address.ts';
import { FLOW_COLUMNS, type Flow } from '../../schemas/rows.ts';
import { escapeJson, escapeText, escapeWord } from './escape.ts';
import { clockTime, elapsed, localDateTime, rfc3339 } from './time-text.ts';

export const OUTPUTS = ['compact', 'wide', 'json'] as const;
export type OutputFormat = (typeof OUTPUTS)[number];
export type Paint = Pick<typeof picocolors, 'dim' | 'cyan' | 'bold' | 'green' | 'yellow' | 'red'>;

export function formatFlow(format: OutputFormat, flow: Flow, paint: Paint): string {
  if (format === 'json') return flowJson(flow);
  return format === 'wide' ? flowWide(flow, paint) : flowCompact(flow, paint);
}

/** `13:00:01.123 node-a orders[4321] GET /v1/orders/42 | 10.0.0.7:40522 -> 10.0.0.9:5432 new +2.1ms lineage/2` */
export function flowCompact(flow: Flow, paint: Paint): string {
  const time = flow.time === null ? '-' : clockTime(flow.time);
  return [paint.dim(time), ...core(flow, paint)].join(' ');
}

/**
 * The compact line with date and microseconds, after it the caller (`by main.call (/src/main.go:12)`) and every other
 * field that has a value as `name=value`.
 */
export function flowWide(flow: Flow, paint: Paint): string {
  const time = flow.time === null ? '-' : localDateTime(flow.time);
  const more = FLOW_COLUMNS.filter((name) => flow[name] !== null && !IN_WORDS.has(name));
  const fields = more.map((name) => `${paint.dim(`${name}=`)}${wideValue(name, flow[name]!)}`);
  return [paint.dim(time), ...core(flow, paint), ...callerWords(flow, paint), ...fields].join(' ');
}

/** Field names exactly, fields without a value left out, times RFC 3339, never coloured or cut. */
export function flowJson(flow: Flow): string {
  const out: Record<string, string | number> = {};
  for (const name of FLOW_COLUMNS) {
    const value = flow[name];
    if (value !== null) out[name] = typeof value === 'bigint' ? rfc3339(value) : value;
  }
  return escapeJson(JSON.stringify(out));
}

/** What the words before them say. */
const IN_WORDS = new Set<keyof Flow>([
  'time',
  'host.name',
  'process.pid',
  'service.name',
  'http.request.method',
  'url.path',
  'url.query',
  'code.function.name',
  'code.file.path',
  'code.line.number',
  'network.local.address',
  'network.local.port',
  'network.peer.address',
  'network.peer.port',
  'flowtag.connection',
  'flowtag.request.start',
  'error.type',
  'flowtag.attribution.verdict',
  'flowtag.attribution.depth',
  'flowtag.attribution.reason',
]);

function core(flow: Flow, paint: Paint): string[] {
  const error = flow['error.type'];
  return [
    word(flow['host.name']),
    paint.cyan(processText(flow)),
    ...requestWords(flow).map((text) => paint.bold(text)),
    paint.dim('|'),
    endText(flow['network.local.address'], flow['network.local.port']),
    paint.dim('->'),
    endText(flow['network.peer.address'], flow['network.peer.port']),
    word(flow['flowtag.connection']),
    ...(error === null ? [] : [paint.red(escapeWord(error))]),
    ...sinceRequest(flow),
    verdictText(flow, paint),
    ...reasonBeside(flow, paint),
  ];
}

function callerWords(flow: Flow, paint: Paint): string[] {
  const { 'code.function.name': name, 'code.file.path': file, 'code.line.number': line } = flow;
  if (name === null && file === null) return [];
  return [paint.dim('by'), word(name), `(${word(file)}${line === null ? '' : `:${line}`})`];
}

function processText(flow: Flow): string {
  const name = word(flow['service.name'] ?? flow['process.executable.name']);
  return flow['process.pid'] === null ? name : `${name}[${flow['process.pid']}]`;
}

function requestWords(flow: Flow): string[] {
  const { 'http.request.method': method, 'url.path': path, 'url.query': query } = flow;
  if (method === null && path === null) return ['-'];
  return [word(method), word(path === null ? null : `${path}${query === null ? '' : `?${query}`}`)];
}

function sinceRequest(flow: Flow): string[] {
  const start = flow['flowtag.request.start'];
  return start === null || flow.time === null ? [] : [elapsed(flow.time - start)];
}

/** How surely: exact and lineage follow from facts alone, pooled and thread are weaker, none says why. */
function verdictText(flow: Flow, paint: Paint): string {
  const verdict = flow['flowtag.attribution.verdict'];
  if (verdict === 'none') return paint.red(`none/${word(flow['flowtag.attribution.reason'])}`);
  if (verdict === 'exact') return paint.green('exact');
  const depth = flow['flowtag.attribution.depth'];
  const text = depth === null ? word(verdict) : `${word(verdict)}/${depth}`;
  return verdict === 'lineage' ? paint.green(text) : paint.yellow(text);
}

/** A verdict that is not none can have one, too: what is not known although the request is. */
function reasonBeside(flow: Flow, paint: Paint): string[] {
  const { 'flowtag.attribution.verdict': verdict, 'flowtag.attribution.reason': reason } = flow;
  return verdict === 'none' || reason === null ? [] : [paint.yellow(escapeWord(reason))];
}

function endText(address: string | null, port: number | null): string {
  return escapeWord(formatEndpoint(address ?? '-', port ?? '-'));
}

function word(text: string | null): string {
  return text === null || text === '' ? '-' : escapeWord(text);
}

function wideValue(name: keyof Flow, value: string | number | bigint): string {
  if (typeof value === 'bigint') return rfc3339(value);
  if (typeof value === 'number')
    return name === 'flowtag.connect.duration' ? `${(value / 1e6).toFixed(3)}ms` : value.toString();
  return /[\s"]/u.test(value) || value === ''
    ? `"${escapeText(value).replaceAll('"', '\\"')}"`
    : escapeText(value);
}
