// JSON lines on stderr, readable text when a person looks at it. Synchronous: the last line before an exit is kept.
import { type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';

export type Logger = PinoLogger;

const STDERR = 2;

export function createLogger(role: string, level: string): Logger {
  const options = {
    level,
    base: { role },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return process.stderr.isTTY
    ? pino(
        options,
        pretty({ destination: STDERR, sync: true, ignore: 'role', messageFormat: '{role}: {msg}' }),
      )
    : pino(options, pino.destination({ dest: STDERR, sync: true }));
}

/** True for the 1st, 2nd, 4th, 8th … time: a bound on log lines of something that may happen with every message. */
export function isWorthLogging(times: number): boolean {
  return Number.isInteger(Math.log2(times));
}

/** Without it for this long, the next time is news again. */
const CALM_MS = 60_000;

/** Something that comes and goes by itself, a link say: worth a line as above, and anew after a calm minute. */
export class Recurrence {
  private times = 0;
  private lastMs = Number.NEGATIVE_INFINITY;

  /** Counts it; true when it is worth a line. */
  isWorthLogging(nowMs: number): boolean {
    if (nowMs - this.lastMs >= CALM_MS) this.times = 0;
    this.lastMs = nowMs;
    return isWorthLogging(++this.times);
  }
}
