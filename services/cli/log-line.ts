// A child's log line as a person reads it. Pure.

export interface LogLine {
  readonly severity: 'quiet' | 'warn' | 'error' | 'plain';
  readonly text: string;
}

const MAX_TEXT_CHARS = 2_000;
/** Of every line, or said already by the prefix that the line gets. */
const COMMON = new Set(['level', 'time', 'pid', 'hostname', 'role', 'name', 'v', 'msg', 'err', 'stack']);
/** pino's numbers. */
const [WARN, ERROR] = [40, 50];
const LABELS: Readonly<Record<string, LogLine['severity']>> = {
  warn: 'warn',
  error: 'error',
  fatal: 'error',
};

/** JSON log lines and nats-server's own; anything else is `plain`: the crash of a runtime, output of a library. */
export function readLogLine(line: string): LogLine {
  return fromJson(line) ?? fromNats(line) ?? { severity: 'plain', text: line.slice(0, MAX_TEXT_CHARS) };
}

function fromJson(line: string): LogLine | undefined {
  if (!line.startsWith('{')) return undefined;
  let raw: Record<string, unknown>;
  try {
    raw = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!('level' in raw)) return undefined;
  const fields = Object.entries(raw).filter(([name, value]) => !COMMON.has(name) && value !== undefined);
  const words = fields.map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const cause = (raw.err as { message?: unknown } | undefined)?.message;
  const text = [String(raw.msg ?? ''), ...(cause === undefined ? [] : [`(${cause})`]), ...words].join(' ');
  return { severity: severityOf(raw.level), text: text.slice(0, MAX_TEXT_CHARS) };
}

function severityOf(level: unknown): LogLine['severity'] {
  if (typeof level === 'number') return level >= ERROR ? 'error' : level >= WARN ? 'warn' : 'quiet';
  return LABELS[String(level)] ?? 'quiet';
}

/** `[123] 2026/11/22 13:00:01.123456 [WRN] text` */
function fromNats(line: string): LogLine | undefined {
  const match = /^\[\d+\] \S+ \S+ \[([A-Z]{3})\] (.*)$/.exec(line);
  if (!match) return undefined;
  const severity = match[1] === 'WRN' ? 'warn' : match[1] === 'ERR' || match[1] === 'FTL' ? 'error' : 'quiet';
  return { severity, text: match[2]!.slice(0, MAX_TEXT_CHARS) };
}
