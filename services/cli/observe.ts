// `flowtag observe`: flows, from history and live.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { FlowsQuery } from '../../schemas/api.ts';
import type { Bus } from '../runtime/bus.ts';
import { nowNs } from '../runtime/clock.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { openBus } from './bus-session.ts';
import { readHistory } from './flow-api.ts';
import { FlowFeed } from './flow-feed.ts';
import { formatFlow, OUTPUTS, type OutputFormat } from './format.ts';
import { chooseServer } from './server-choice.ts';
import { parseTime } from './time-argument.ts';
import { localDateTime } from './time-text.ts';
import { UsageError } from './usage-error.ts';
import { parsed, type RunVerb, type VerbContext } from './verb.ts';

interface ObserveOptions {
  readonly follow?: true;
  readonly last?: number;
  readonly since?: bigint;
  readonly until?: bigint;
  readonly output: OutputFormat;
}

const DEFAULT_LAST = 20;
const MAX_LAST = 10_000;
const RECONNECT_MS = 30_000;
const POLL_MS = 250;
/** Flows that were published while we were away are looked up several times: capture, correlator and sink have to come
 * back too before the store has all of them. */
const STORE_DELAYS_MS = [2_000, 3_000, 5_000, 10_000];
/** The connection may have been lost again while we looked things up. */
const LOOK_BACK_NS = 25_000_000_000n;

export function addObserve(program: Command, run: RunVerb): void {
  const time = (flag: string) => parsed(flag, (text) => parseTime(text, nowNs()));
  program
    .command('observe')
    .summary('flows, history and live')
    .description('Print flows: which inbound request made or used which connection. The newest come last.')
    .option('-f, --follow', 'go on with new flows as they come, until Ctrl-C')
    .option(
      '--last <n>',
      `the newest N of what is stored (default: ${DEFAULT_LAST}, with --since all)`,
      parsed('--last', parseLast),
    )
    .option(
      '--since <time>',
      'from then on: 5m (ago), 13:00:01 (local) or 2026-11-22T13:00:01Z',
      time('--since'),
    )
    .option('--until <time>', 'up to then; not with -f', time('--until'))
    .addOption(new Option('-o, --output <format>', 'form of a line').choices(OUTPUTS).default('compact'))
    .addHelpText(
      'after',
      '\nExamples:\n  flowtag observe -f\n  flowtag observe --since 5m -o json\n  flowtag observe --since 13:00 --until 13:05 -o wide',
    )
    .action((options: ObserveOptions, command: Command) =>
      run(command, (context) => observe(options, context)),
    );
}

async function observe(options: ObserveOptions, context: VerbContext): Promise<number> {
  if (options.follow && options.until !== undefined)
    throw new UsageError('--until and -f exclude each other: -f goes on until it is stopped');
  if (options.since !== undefined && options.until !== undefined && options.since >= options.until)
    throw new UsageError('--since must be before --until');
  const choice = chooseServer(context.server, context.dataDir);
  const bus = await openBus(choice, context.access);
  try {
    if (options.follow) await follow(bus, options, context);
    else await printHistory(bus, options, context);
    return 0;
  } finally {
    await bus.close();
  }
}

async function printHistory(
  bus: Bus,
  options: ObserveOptions,
  { out, paint, say }: VerbContext,
): Promise<void> {
  const query = queryOf(options);
  const flows = await readHistory(bus, query);
  if (flows.length === 0) say(explainEmpty(options));
  if (options.last === undefined && flows.length === MAX_LAST)
    say(`these are the newest ${MAX_LAST}; narrow --since and --until for others`);
  await out.writeAll(flows.map((flow) => formatFlow(options.output, flow, paint)));
}

async function follow(bus: Bus, options: ObserveOptions, context: VerbContext): Promise<void> {
  const { out, paint, say } = context;
  const interrupts = context.untilInterrupted();
  const feed = new FlowFeed(bus, (flow) => out.write(formatFlow(options.output, flow, paint)), say);
  const offerHistory = async (query: FlowsQuery): Promise<void> => {
    try {
      for (const flow of await readHistory(bus, query)) feed.offer(flow);
    } catch (error) {
      if (!(error instanceof FlowtagError)) throw error;
      say(`only live flows: ${error.message}`);
    }
  };
  await offerHistory(queryOf(options));
  feed.release();
  const end = AbortSignal.any([interrupts.stop, out.closed]);
  while (!end.aborted) {
    await whileConnected(bus, end);
    if (end.aborted) break;
    const lostNs = nowNs();
    say('connection to the bus lost; waiting for it to come back');
    await untilConnected(bus, end);
    if (end.aborted) break;
    say('connected again');
    for (const delayMs of STORE_DELAYS_MS) {
      await pause(delayMs, end);
      if (end.aborted || !bus.connected) break;
      await offerHistory({ v: 1, last: MAX_LAST, sinceNs: lostNs - LOOK_BACK_NS });
    }
  }
  feed.close();
}

async function whileConnected(bus: Bus, end: AbortSignal): Promise<void> {
  while (bus.connected && !end.aborted) await pause(POLL_MS, end);
}

async function untilConnected(bus: Bus, end: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + RECONNECT_MS;
  while (!bus.connected && !end.aborted) {
    if (performance.now() > deadlineMs)
      throw new FlowtagError('BUS_UNREACHABLE', `the bus has been away for ${RECONNECT_MS / 1000} s`);
    await pause(POLL_MS, end);
  }
}

async function pause(ms: number, end: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: end }).catch(() => undefined);
}

function queryOf({ last, since, until, follow }: ObserveOptions): FlowsQuery {
  const all = since !== undefined || (until !== undefined && !follow);
  return {
    v: 1,
    last: last ?? (all ? MAX_LAST : DEFAULT_LAST),
    ...(since === undefined ? {} : { sinceNs: since }),
    ...(until === undefined ? {} : { untilNs: until }),
  };
}

function parseLast(text: string): number {
  const last = /^\d+$/.test(text) ? Number(text) : 0;
  if (last < 1 || last > MAX_LAST)
    throw new UsageError(`"${text}" is not a number between 1 and ${MAX_LAST}`);
  return last;
}

function explainEmpty({ since, until }: ObserveOptions): string {
  const from = since === undefined ? '' : ` since ${localDateTime(since)}`;
  const to = until === undefined ? '' : ` until ${localDateTime(until)}`;
  const cure =
    from || to
      ? 'try a longer time'
      : 'is a target watched (flowtag up --target …), and does it get requests?';
  return `no flows are stored${from}${to}; ${cure}`;
}
