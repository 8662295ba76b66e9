// Nanoseconds since the Unix epoch, as text.

const NS_PER_S = 1_000_000_000n;

/** RFC 3339 in UTC with nine decimals. */
export function rfc3339(timeNs: bigint): string {
  const [seconds, rest] = split(timeNs);
  return `${new Date(seconds * 1000).toISOString().slice(0, -5)}.${rest.padStart(9, '0')}Z`;
}

/** `13:00:01.123`, local time. */
export function clockTime(timeNs: bigint): string {
  const [seconds, rest] = split(timeNs);
  const date = new Date(seconds * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${rest.slice(0, 3)}`;
}

/** `2026-11-22 13:00:01.123456`, local time. */
export function localDateTime(timeNs: bigint): string {
  const [seconds, rest] = split(timeNs);
  const date = new Date(seconds * 1000);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${clockTime(timeNs).slice(0, 8)}.${rest.slice(0, 6)}`;
}

/** `+2.1ms`, `+12.3s`, `+5m03s`; a `-` when the clock says so. */
export function elapsed(ns: bigint): string {
  const sign = ns < 0n ? '-' : '+';
  const ms = Number(ns < 0n ? -ns : ns) / 1e6;
  if (ms < 999.95) return `${sign}${ms.toFixed(1)}ms`;
  if (ms < 59_950) return `${sign}${(ms / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  return `${sign}${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
}

/** Whole seconds (rounded down, also before 1970) and the nine digits that remain. */
function split(timeNs: bigint): [number, string] {
  const rest = ((timeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  return [Number((timeNs - rest) / NS_PER_S), rest.toString().padStart(9, '0')];
}

function two(value: number): string {
  return value.toString().padStart(2, '0');
}
