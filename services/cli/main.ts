// The command line: one verb, one file. Services have verbs of their own in bin/flowtag.js and never come here.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, CommanderError, Option } from 'commander';
import { z } from 'zod';
import { loadConfig, sharedOptions } from '../runtime/config.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { VERSION } from '../runtime/version.ts';
import { addDoctor } from './doctor.ts';
import { addEnroll } from './enroll.ts';
import { type Interrupts, watchSignals } from './interrupts.ts';
import { addLedger } from './ledger.ts';
import { LineOutput } from './line-output.ts';
import { addLookup } from './lookup.ts';
import { addObserve } from './observe.ts';
import { addServices } from './services.ts';
import { addStatus } from './status.ts';
import { COLOR_CHOICES, type ColorChoice, paintFor, sayOn, type Terminal } from './terminal.ts';
import { addUp } from './up.ts';
import { UsageError } from './usage-error.ts';
import type { RunVerb } from './verb.ts';

const LAST_WRITE_MS = 1_000;

export async function main(argv: readonly string[]): Promise<number> {
  return runCommandLine(argv, process, watchSignals);
}

/** The exit code; everything is written when it resolves. */
export async function runCommandLine(
  argv: readonly string[],
  terminal: Terminal,
  watchInterrupts: () => Interrupts,
): Promise<number> {
  const say = sayOn(terminal);
  const out = new LineOutput(terminal.stdout, say);
  let exitCode = 0;
  let interrupts: Interrupts | undefined;
  const run: RunVerb = async (command, verb) => {
    const { color, ...given } = command.optsWithGlobals<GlobalOptions>();
    const { server, dataDir, ...access } = connectionOptions(given);
    exitCode = await verb({
      out,
      say,
      paint: paintFor(color, terminal),
      untilInterrupted: () => {
        interrupts = watchInterrupts();
        return interrupts;
      },
      server,
      dataDir,
      access,
    });
  };
  try {
    await buildProgram(terminal, run).parseAsync([...argv], { from: 'user' });
  } catch (error) {
    exitCode = explain(error, say);
  }
  // Who interrupts does not wait for a paused pager to read on.
  const unread = interrupts?.stop.aborted ? sleep(LAST_WRITE_MS, undefined, { ref: false }) : undefined;
  await Promise.race([out.flush(), ...(unread ? [unread] : [])]);
  if (out.failure) say(`cannot write to stdout: ${out.failure.message}`);
  return out.failure ? 1 : exitCode;
}

interface GlobalOptions {
  readonly server?: string;
  readonly creds?: string;
  readonly tlsCa?: string;
  readonly dataDir?: string;
  readonly color: ColorChoice;
}

/** Flags, else environment, through the one place that reads it. */
function connectionOptions(given: Omit<GlobalOptions, 'color'>): {
  server?: string | undefined;
  creds?: string | undefined;
  tlsCa?: string | undefined;
  dataDir: string;
} {
  const schema = z.object({
    server: sharedOptions.server.unwrap().optional(),
    creds: sharedOptions.creds,
    tlsCa: sharedOptions.tlsCa,
    dataDir: sharedOptions.dataDir,
  });
  const argv = [
    ...(given.server === undefined ? [] : [`--server=${given.server}`]),
    ...(given.creds === undefined ? [] : [`--creds=${given.creds}`]),
    ...(given.tlsCa === undefined ? [] : [`--tls-ca=${given.tlsCa}`]),
    ...(given.dataDir === undefined ? [] : [`--data-dir=${given.dataDir}`]),
  ];
  return loadConfig('cli', schema, argv);
}

function buildProgram(terminal: Terminal, run: RunVerb): Command {
  const program = new Command('flowtag')
    .description(
      'Which inbound request caused this TCP connection? Facts from application and kernel, joined exactly.',
    )
    .version(VERSION, '-V, --version', 'print the version')
    .option('--server <url>', 'NATS server (default: the one of a running `up`, else nats://127.0.0.1:4222)')
    .option('--creds <file>', 'credential that `enroll` made: who this is on the bus')
    .option('--tls-ca <file>', "certificates that vouch for the server's; nothing is sent without TLS then")
    .option('--data-dir <dir>', 'where `up` keeps everything (default: .flowtag)')
    .addOption(new Option('--color <when>', 'colours on stdout').choices(COLOR_CHOICES).default('auto'))
    .addHelpText('after', EXAMPLES)
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'flowtag: ')),
    })
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('  see: flowtag --help, flowtag <verb> --help')
    .exitOverride();
  addUp(program, run);
  addObserve(program, run);
  addLookup(program, run);
  addLedger(program, run);
  addStatus(program, run);
  addDoctor(program, run);
  addEnroll(program, run);
  addServices(program);
  return program;
}

const EXAMPLES = `
Examples:
  flowtag up --demo                              everything on this machine, with a demo target
  flowtag up --target /usr/local/bin/server      the same for a Go server of your own
  flowtag observe -f                             flows as they come
  flowtag lookup 10.0.0.7:40522                  which request made this connection
  flowtag doctor --target /usr/local/bin/server  can this host and this server be probed

Every option of connection also has an environment name: FLOWTAG_SERVER, FLOWTAG_CREDS, FLOWTAG_TLS_CA,
FLOWTAG_DATA_DIR; NO_COLOR is honoured.
Exit codes: 0 done, 1 failed or not found, 2 usage or configuration, 3 not permitted or unsupported host.`;

function explain(error: unknown, say: (text: string) => void): number {
  if (error instanceof CommanderError) {
    // Help that was asked for is no error; help in answer to no verb at all is.
    const asked = ['commander.helpDisplayed', 'commander.version'].includes(error.code);
    return asked ? 0 : 2;
  }
  if (!(error instanceof FlowtagError)) throw error;
  say(error instanceof UsageError ? `${error.message}\n  see: flowtag <verb> --help` : error.message);
  return error.exitCode;
}
