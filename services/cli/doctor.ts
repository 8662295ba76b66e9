// `flowtag doctor`: can this host be probed, each answer with its cure. The host is looked at by the capture
// service in a process of its own (`check-host`), which also keeps a crash in a native library out of here.
import { execFile } from 'node:child_process';
import { type Command, Option } from 'commander';
import { type Check, check } from '../../schemas/check.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { withoutCredentials } from '../runtime/server-url.ts';
import { openBus } from './bus-session.ts';
import { escapeText } from './escape.ts';
import type { Paint } from './format.ts';
import { verbCommand } from './installation.ts';
import { chooseServer } from './server-choice.ts';
import type { RunVerb, VerbContext } from './verb.ts';

interface DoctorOptions {
  readonly target?: readonly string[];
  readonly output: 'text' | 'json';
}

const UNSUPPORTED = 3;
const TIMEOUT_MS = 60_000;
const NAME_WIDTH = 16;

export function addDoctor(program: Command, run: RunVerb): void {
  program
    .command('doctor')
    .summary('can this host, and this server, be probed')
    .description('Check kernel, rights, probes, targets and NATS by trying them; each problem with its cure.')
    .option('--target <pid|path|glob>', 'also check this Go server; may be repeated', append)
    .addOption(
      new Option('-o, --output <format>', 'form of a line').choices(['text', 'json']).default('text'),
    )
    .addHelpText('after', '\nExit code 3 when something fails.')
    .action((options: DoctorOptions, command: Command) =>
      run(command, (context) => doctor(options, context)),
    );
}

async function doctor(options: DoctorOptions, context: VerbContext): Promise<number> {
  const checks = [...(await checkHost(options.target ?? [])), await checkBus(context)];
  await context.out.writeAll(
    checks.map((each) =>
      options.output === 'json' ? JSON.stringify(each) : formatCheck(each, context.paint),
    ),
  );
  return checks.some(({ state }) => state === 'fail') ? UNSUPPORTED : 0;
}

/** `ok    BTF              …`, a problem with its cure on the next line. */
export function formatCheck({ name, state, detail, cure }: Check, paint: Paint): string {
  const mark = { ok: paint.green, warn: paint.yellow, fail: paint.red }[state](state.padEnd(4));
  const line = `${mark}  ${escapeText(name).padEnd(NAME_WIDTH)}  ${escapeText(detail)}`;
  return cure === '' ? line : `${line}\n      -> ${escapeText(cure)}`;
}

function checkHost(targets: readonly string[]): Promise<Check[]> {
  const { file, args } = verbCommand(
    'check-host',
    targets.map((target) => `--target=${target}`),
  );
  return new Promise((resolve, reject) => {
    execFile(file, [...args], { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      if (!error)
        return resolve(
          stdout
            .split('\n')
            .filter(Boolean)
            .map((line) => check.parse(JSON.parse(line))),
        );
      const problem = stderr.trim() || error.message;
      reject(new FlowtagError('CHECK_FAILED', `the checks could not be run: ${problem}`, { cause: error }));
    });
  });
}

/** Without a server named, none needs to run: `up` brings its own. */
async function checkBus({ server, dataDir, access }: VerbContext): Promise<Check> {
  const choice = chooseServer(server, dataDir);
  try {
    const bus = await openBus(choice, access);
    await bus.close();
    const detail = `${withoutCredentials(choice.server)} (${choice.origin})`;
    return { name: 'NATS', state: 'ok', detail, cure: '' };
  } catch (error) {
    const [detail, ...cure] = (error as Error).message.split('\n');
    const state = server === undefined ? 'warn' : 'fail';
    return { name: 'NATS', state, detail: detail!, cure: cure.map((line) => line.trim()).join('; ') };
  }
}

function append(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
