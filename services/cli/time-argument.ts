// What people type for a time or a duration. Pure: the present is an argument.
import { UsageError } from './usage-error.ts';

const NS_PER_MS = 1_000_000n;
const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const LONGEST_MS = 3650 * UNIT_MS.d;

/** `500ms`, `20s`, `5m`, `1h30m`, `2d`. */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/gy)];
  let ms = 0;
  for (const [, amount, unit] of parts) ms += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw new UsageError(`"${text}" is not a duration; give for example 500ms, 20s, 5m, 2h or 1h30m`);
  const whole = Math.round(ms);
  if (whole < 1 || whole > LONGEST_MS)
    throw new UsageError(`"${text}" is out of range; a duration is between 1ms and 3650d`);
  return whole;
}

/** A duration ago (`5m`), RFC 3339 (`2026-11-22T13:00:01.5Z`) or a time of day (`13:00:01.123`: the last time it was). */
export function parseTime(text: string, nowNs: bigint): bigint {
  if (text === 'now') return nowNs;
  if (/^[\d.]+(ms|[smhd])/.test(text)) return nowNs - BigInt(parseDuration(text)) * NS_PER_MS;
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?$/.exec(text);
  if (clock) return timeOfDay(text, clock, nowNs);
  const match = RFC3339.exec(text);
  if (!match) {
    const local = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(text);
    throw new UsageError(
      local
        ? `"${text}" has no time zone; give for example ${text.slice(0, 10)}T13:00:01Z or …T13:00:01+01:00`
        : `"${text}" is not a time; give for example 5m (ago), 13:00:01 (local) or 2026-11-22T13:00:01Z`,
    );
  }
  const [, day, time, fraction = '', zone] = match;
  const ms = Date.parse(`${day}T${time}${zone!.toUpperCase()}`);
  // Date.parse turns 31 February into March; a time that does not come back is not one.
  if (Number.isNaN(ms) || !sameDay(day!, ms, zone!)) throw new UsageError(`"${text}" does not exist`);
  return BigInt(ms) * NS_PER_MS + BigInt(fraction.padEnd(9, '0').slice(0, 9));
}

const RFC3339 = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})$/;

function timeOfDay(text: string, clock: RegExpExecArray, nowNs: bigint): bigint {
  const [hours, minutes, seconds] = [Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0)];
  if (hours > 23 || minutes > 59 || seconds > 59) throw new UsageError(`"${text}" is not a time of day`);
  const date = new Date(Number(nowNs / NS_PER_MS));
  date.setHours(hours, minutes, seconds, 0);
  if (BigInt(date.getTime()) * NS_PER_MS > nowNs) {
    date.setDate(date.getDate() - 1);
    date.setHours(hours, minutes, seconds, 0); // the day before may be in another daylight saving time
  }
  return BigInt(date.getTime()) * NS_PER_MS + BigInt((clock[4] ?? '').padEnd(9, '0'));
}

function sameDay(day: string, ms: number, zone: string): boolean {
  const offset = /^([+-])(\d{2}):(\d{2})$/.exec(zone);
  const offsetMs = offset
    ? (offset[1] === '-' ? -1 : 1) * (Number(offset[2]) * 60 + Number(offset[3])) * UNIT_MS.m
    : 0;
  return new Date(ms + offsetMs).toISOString().startsWith(day);
}
