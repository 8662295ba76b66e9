// From start to exit code: signals, the deadline of an orderly stop, and errors that nobody handled.
import type { z } from 'zod';
import type { Role } from '../../schemas/metrics.ts';
import { loadConfig } from './config.ts';
import { ConfigError, FlowtagError } from './errors.ts';
import { createLogger, type Logger } from './log.ts';
import { type Ops, type OpsOptions, openOps } from './ops.ts';
import { usageOf } from './usage.ts';

const STOP_DEADLINE_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

/** From the arguments of a service's verb to its exit code. What is wrong with them is said on stderr, all at once. */
export async function startService<
  S extends z.ZodObject & z.ZodType<{ readonly logLevel: string } & OpsOptions>,
>(
  role: Role,
  options: S,
  argv: readonly string[],
  run: (config: z.infer<S>, log: Logger, signal: AbortSignal, ops: Ops) => Promise<void>,
): Promise<number> {
  let ops: Ops | undefined;
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(usageOf(role, options));
    return 0;
  }
  try {
    const config = loadConfig(role, options, argv);
    const log = createLogger(role, config.logLevel);
    const open = await openOps(role, config);
    ops = open;
    return await runService(role, log, (signal) => run(config, log, signal, open));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  } finally {
    ops?.close();
  }
}

/**
 * Runs a service until SIGTERM or SIGINT aborts `signal` and `run` has stopped in order, or until `run` ends by
 * itself. A stop that takes longer than the deadline, or a second signal, ends the process at once with exit code 1.
 */
export async function runService(
  role: string,
  log: Logger,
  run: (signal: AbortSignal) => Promise<void>,
  stopDeadlineMs = STOP_DEADLINE_MS,
): Promise<number> {
  const controller = new AbortController();
  let deadline: NodeJS.Timeout | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      log.warn({ signal: name }, 'second signal: stopping at once');
      process.exit(1);
    }
    log.info({ signal: name }, 'stopping');
    deadline = setTimeout(() => {
      log.error({ deadlineMs: stopDeadlineMs }, 'orderly stop took too long');
      process.exit(1);
    }, stopDeadlineMs);
    controller.abort();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  // A service that at some moment waits for its signal alone would end: handlers keep no process alive.
  const alive = setInterval(() => undefined, KEEP_ALIVE_MS);
  log.info({ pid: process.pid }, 'starting');
  try {
    await run(controller.signal);
    log.info('stopped');
    return 0;
  } catch (error) {
    return report(role, log, error);
  } finally {
    clearInterval(alive);
    clearTimeout(deadline);
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}

/** Resolves when `signal` aborts, or at once when it has. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function report(role: string, log: Logger, error: unknown): number {
  if (!(error instanceof FlowtagError)) {
    log.error({ err: error }, `${role} failed`);
    return 1;
  }
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  if (error.exitCode === 0) log.info({ code: error.code }, error.message);
  else log.error({ code: error.code, cause }, error.message);
  return error.exitCode;
}
