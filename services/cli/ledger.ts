// `flowtag ledger`: captured, stored and dropped, for each host; whether the books add up.
import { type Command, Option } from 'commander';
import { nowNs } from '../runtime/clock.ts';
import { type BootBalance, balancesOf, isClosed, type RunBalance } from './balance.ts';
import { openBus } from './bus-session.ts';
import { escapeJson, escapeWord } from './escape.ts';
import { readLedger } from './flow-api.ts';
import { OUTPUTS, type OutputFormat } from './format.ts';
import { chooseServer } from './server-choice.ts';
import { textTable } from './text-table.ts';
import { parseTime } from './time-argument.ts';
import { localDateTime, rfc3339 } from './time-text.ts';
import { parsed, type RunVerb, type VerbContext } from './verb.ts';

interface LedgerOptions {
  readonly host?: string;
  readonly since?: bigint;
  readonly until?: bigint;
  readonly output: OutputFormat;
}

const UNBALANCED = 1;
const HEADER = [
  'HOST',
  'BOOT',
  'CAPTURED',
  'DROPPED',
  'LOST',
  'FLOWS',
  'STORED',
  'IN FLIGHT',
  'UP TO',
  'BOOKS',
];
const ALIGNS = [
  'left',
  'left',
  'right',
  'right',
  'right',
  'right',
  'right',
  'right',
  'left',
  'left',
] as const;

export function addLedger(program: Command, run: RunVerb): void {
  program
    .command('ledger')
    .summary('what was captured, stored and dropped, host by host')
    .description(
      'Print the books of each host and boot: events that hooks saw, what was dropped on the way (-o wide: where and why), what is stored. Books that add up account for every event.',
    )
    .option('--host <name>', 'of this host alone')
    .option(
      '--since <time>',
      'books made after this',
      parsed('--since', (text) => parseTime(text, nowNs())),
    )
    .option(
      '--until <time>',
      'as they were then',
      parsed('--until', (text) => parseTime(text, nowNs())),
    )
    .addOption(new Option('-o, --output <format>', 'form of a line').choices(OUTPUTS).default('compact'))
    .addHelpText('after', '\nExit code 0 when all books add up, 1 when some do not yet, or there are none.')
    .action((options: LedgerOptions, command: Command) =>
      run(command, (context) => ledger(options, context)),
    );
}

async function ledger(options: LedgerOptions, context: VerbContext): Promise<number> {
  const { host, since, until, output } = options;
  const bus = await openBus(chooseServer(context.server, context.dataDir), context.access);
  try {
    const balances = balancesOf(
      await readLedger(bus, {
        v: 1,
        ...(host === undefined ? {} : { host }),
        ...(since === undefined ? {} : { sinceNs: since }),
        ...(until === undefined ? {} : { untilNs: until }),
      }),
    );
    await context.out.writeAll(
      output === 'json' ? balances.map(toJson) : toText(balances, output === 'wide'),
    );
    if (balances.length === 0)
      context.say('no books yet: a host has some a second after its first batch of events was joined');
    return balances.length > 0 && balances.every(isClosed) ? 0 : UNBALANCED;
  } finally {
    await bus.close();
  }
}

function toText(balances: readonly BootBalance[], wide: boolean): string[] {
  if (balances.length === 0) return [];
  const rows = balances.map((balance) => {
    const { host, boot, runs, lost, flows, flowsStored, inFlight } = balance;
    const sum = (count: (run: RunBalance) => number) => `${runs.reduce((all, run) => all + count(run), 0)}`;
    return [
      escapeWord(host),
      escapeWord(boot.slice(0, 8)),
      sum(({ captured }) => captured),
      sum(({ dropped }) => dropped),
      `${lost}`,
      `${flows}`,
      `${flowsStored ?? 'expired'}`,
      `${inFlight}`,
      localDateTime(runs.at(-1)!.uptoNs).slice(0, 19),
      isClosed(balance) ? 'add up' : balance.problems.length > 0 ? 'do not add up' : 'open',
    ];
  });
  const lines = textTable(ALIGNS, [HEADER, ...rows]);
  return [lines[0]!, ...balances.flatMap((balance, i) => [lines[i + 1]!, ...details(balance, wide)])];
}

/** Why books do not add up; with `wide` every count of every run. */
function details({ runs, lost, problems }: BootBalance, wide: boolean): string[] {
  const said = problems.map((problem) => `  ${problem}`);
  if (lost > 0) said.push(`  ${lost} events were lost when a run of capture ended without an orderly stop`);
  if (!wide) return said;
  return [
    ...said,
    ...runs.map(({ sinceNs, counts }) => `  run since ${localDateTime(sinceNs)}: ${inWords(counts)}`),
  ];
}

function inWords(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${escapeWord(name)} ${count}`)
    .join(', ');
}

function toJson(balance: BootBalance): string {
  const { host, boot, runs, ...rest } = balance;
  return escapeJson(
    JSON.stringify({
      'host.name': host,
      'flowtag.boot': boot,
      balanced: isClosed(balance),
      ...rest,
      runs: runs.map(({ sinceNs, uptoNs, ...run }) => ({
        since: rfc3339(sinceNs),
        upto: rfc3339(uptoNs),
        ...run,
      })),
    }),
  );
}
