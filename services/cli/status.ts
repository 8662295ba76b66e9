// `flowtag status`: the services of the fleet, as their heartbeats tell, and hosts that should be heard and are not.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { LedgerAnswer } from '../../schemas/ledger.ts';
import { readStatus } from '../../schemas/status.ts';
import { STATUS_SUBJECTS } from '../../schemas/subjects.ts';
import type { Bus } from '../runtime/bus.ts';
import { nowNs } from '../runtime/clock.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { openBus } from './bus-session.ts';
import { Fleet } from './fleet.ts';
import { memberJson, membersText } from './fleet-text.ts';
import { readLedger } from './flow-api.ts';
import { chooseServer } from './server-choice.ts';
import { parseDuration } from './time-argument.ts';
import { parsed, type RunVerb, type VerbContext } from './verb.ts';

interface StatusOptions {
  readonly wait: number;
  readonly output: 'text' | 'json';
}

const NOT_WELL = 1;
/** Two heartbeats of each service, which come every 5 s. */
const WAIT_MS = 10_500;
const DAY_NS = 86_400_000_000_000n;

export function addStatus(program: Command, run: RunVerb): void {
  program
    .command('status')
    .summary('the services of the fleet: state, rates, lag, drops')
    .description(
      'Listen to the heartbeats of all services, and say which hosts of the last day are not heard.',
    )
    .addOption(
      new Option('--wait <duration>', 'how long to listen; rates need two heartbeats, 5 s apart')
        .default(WAIT_MS, '10.5s')
        .argParser(parsed('--wait', parseDuration)),
    )
    .addOption(
      new Option('-o, --output <format>', 'form of a line').choices(['text', 'json']).default('text'),
    )
    .addHelpText('after', '\nExit code 0 when every service is ready and every host is heard, else 1.')
    .action((options: StatusOptions, command: Command) =>
      run(command, (context) => status(options, context)),
    );
}

async function status({ wait, output }: StatusOptions, context: VerbContext): Promise<number> {
  const { out, say } = context;
  const bus = await openBus(chooseServer(context.server, context.dataDir), context.access);
  try {
    const fleet = new Fleet();
    bus.subscribe(STATUS_SUBJECTS, (message) => {
      const beat = readStatus(message);
      if (beat) fleet.accept(beat);
    });
    if (output === 'text') say(`listening for heartbeats, ${wait / 1000} s`);
    const listening = sleep(wait);
    const books = await knownHosts(bus, say);
    await listening;
    const members = fleet.members(books ?? [], nowNs() - DAY_NS);
    await out.writeAll(output === 'json' ? members.map(memberJson) : membersText(members));
    if (members.length === 0) say('no service sends heartbeats on this bus; start one with: flowtag up');
    const isWell = books !== undefined && members.every(({ state }) => state === 'ready');
    return isWell && members.length > 0 ? 0 : NOT_WELL;
  } finally {
    await bus.close();
  }
}

/** Undefined, and said, when the sink cannot tell. */
async function knownHosts(bus: Bus, say: (text: string) => void): Promise<LedgerAnswer[] | undefined> {
  try {
    return await readLedger(bus, { v: 1, sinceNs: nowNs() - DAY_NS });
  } catch (error) {
    if (!(error instanceof FlowtagError)) throw error;
    say(`hosts that are silent cannot be told: ${error.message}`);
    return undefined;
  }
}
