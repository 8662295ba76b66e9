// `flowtag ledger`: captured, stored and dropped, for each host; whether the books add up.
import { type Command, Option } from 'commander';
import { nowNs } from '../runtime/clock.ts';
import { balancesOf, isClosed } from './balance.ts';
import { openBus } from './bus-session.ts';
import { readLedger } from './flow-api.ts';
import { OUTPUTS, type OutputFormat } from './format.ts';
import { ledgerJson, ledgerText } from './ledger-text.ts';
import { chooseServer } from './server-choice.ts';
import { parseTime } from './time-argument.ts';
import { parsed, type RunVerb, type VerbContext } from './verb.ts';

interface LedgerOptions {
  readonly host?: string;
  readonly since?: bigint;
  readonly until?: bigint;
  readonly output: OutputFormat;
}

const UNBALANCED = 1;
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
      output === 'json' ? balances.map(ledgerJson) : ledgerText(balances, output === 'wide'),
    );
    if (balances.length === 0)
      context.say('no books yet: a host has some a second after its first batch of events was joined');
    return balances.length > 0 && balances.every(isClosed) ? 0 : UNBALANCED;
  } finally {
    await bus.close();
  }
}
