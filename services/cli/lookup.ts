// `flowtag lookup`: the product's question. Which request made or used this connection?
import { type Command, Option } from 'commander';
import type { LookupQuery } from '../../schemas/api.ts';
import { nowNs } from '../runtime/clock.ts';
import { openBus } from './bus-session.ts';
import { lookupFlows } from './flow-api.ts';
import { formatFlow, OUTPUTS, type OutputFormat } from './format.ts';
import { type InUse, inUseAt } from './in-use.ts';
import { describeKey, type LookupKey, parseLookupKey } from './lookup-key.ts';
import { chooseServer } from './server-choice.ts';
import { parseDuration, parseTime } from './time-argument.ts';
import { localDateTime } from './time-text.ts';
import { parsed, type RunVerb, type VerbContext } from './verb.ts';

interface LookupOptions {
  readonly at?: bigint;
  readonly window: number;
  readonly output: OutputFormat;
}

const LIMIT = 500; // the answer is one message of at most 1 MiB
const DEFAULT_WINDOW_MS = 5 * 60_000;
const NOT_FOUND = 1;

export function addLookup(program: Command, run: RunVerb): void {
  program
    .command('lookup')
    .summary('which requests made or used a connection')
    .description(
      'Print the flows of a connection, trace, path or Community ID; the newest come last. With --at, those that were using a connection then come first.',
    )
    .argument('<what>', 'one end as address:port, a trace id, a /path or a Community ID (1:…=)')
    .argument('[other-end]', 'the other end as address:port, in either order')
    .option(
      '--at <time>',
      'around then: 5m (ago), 13:00:01 (local) or 2026-11-22T13:00:01Z',
      parsed('--at', (text) => parseTime(text, nowNs())),
    )
    .addOption(
      new Option('--window <duration>', 'how far from --at, or back from now')
        .default(DEFAULT_WINDOW_MS, '5m')
        .argParser(parsed('--window', parseDuration)),
    )
    .addOption(new Option('-o, --output <format>', 'form of a line').choices(OUTPUTS).default('compact'))
    .addHelpText(
      'after',
      "\nExamples:\n  flowtag lookup 10.0.0.7:40522\n  flowtag lookup 10.0.0.7:40522 '[2001:db8::9]:5432' --at 13:00:01 --window 1m\n  flowtag lookup /v1/orders/42 --window 2h -o json\n\nExit code 1 when nothing is found.",
    )
    .action((what: string, other: string | undefined, options: LookupOptions, command: Command) => {
      const key = parseLookupKey(other === undefined ? [what] : [what, other]);
      return run(command, (context) => lookup(key, options, context));
    });
}

async function lookup(key: LookupKey, options: LookupOptions, context: VerbContext): Promise<number> {
  const { out, paint, say } = context;
  const { at, window } = options;
  const query: LookupQuery = {
    ...key,
    v: 1,
    windowNs: BigInt(window) * 1_000_000n,
    limit: LIMIT,
    ...(at === undefined ? {} : { atNs: at }),
  };
  const askedNs = nowNs();
  const bus = await openBus(chooseServer(context.server, context.dataDir), context.access);
  try {
    const { flows, asked } = await lookupFlows(bus, query);
    if (flows.length === asked)
      say(
        `there may be more: these are the ${asked} nearest to ${at === undefined ? 'now' : '--at'}; narrow --at and --window`,
      );
    const ofConnection = key.ends !== undefined || key.communityId !== undefined;
    const { inUse, others } =
      at !== undefined && ofConnection ? inUseAt(flows, at) : { inUse: [], others: flows };
    if (at !== undefined && ofConnection && flows.length > 0) say(explainOrder({ inUse, others }, at));
    await out.writeAll([...inUse, ...others].map((flow) => formatFlow(options.output, flow, paint)));
    if (flows.length > 0) return 0;
    say(`nothing found for ${describeKey(key)} ${searched(query, askedNs)}\n${advice(key)}`);
    return NOT_FOUND;
  } finally {
    await bus.close();
  }
}

function explainOrder({ inUse, others }: InUse, atNs: bigint): string {
  const at = localDateTime(atNs);
  if (inUse.length === 0) return `nothing used it before ${at} in this --window: these flows came later`;
  const first =
    inUse.length === 1
      ? `the first flow is the last seen on the connection by ${at}`
      : `the first ${inUse.length} flows are the last seen on their connections by ${at}`;
  return others.length === 0 ? first : `${first}; the others follow, the newest last`;
}

function searched({ atNs, windowNs }: LookupQuery, askedNs: bigint): string {
  const [from, to] = atNs === undefined ? [askedNs - windowNs, askedNs] : [atNs - windowNs, atNs + windowNs];
  return `between ${localDateTime(from)} and ${localDateTime(to)}`;
}

function advice(key: LookupKey): string {
  const kind = key.ends
    ? 'ends are as the host of the process sees them, before any NAT'
    : 'flows match it exactly';
  return `  try a longer --window (30m, 2h) or another --at; ${kind}; what is stored: flowtag observe --last 5`;
}
