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
