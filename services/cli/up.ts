// `flowtag up`: everything on this machine in one process tree, flows printed as they come.
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Option, type Command as Verb } from 'commander';
import type { Flow } from '../../schemas/rows.ts';
import { nowNs } from '../runtime/clock.ts';
import { settledWithin } from '../runtime/deadline.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { aborted } from '../runtime/lifecycle.ts';
import { watchBus } from './bus-watchdog.ts';
import { ChildLog } from './child-log.ts';
import { DEMO_BINARY, DEMO_NAMES, driveDemo, startDemo } from './demo.ts';
import { FlowFeed } from './flow-feed.ts';
import { formatFlow, OUTPUTS, type OutputFormat } from './format.ts';
import { type Command, deathSignalPrefix, findNatsServer, verbCommand } from './installation.ts';
import { ProcessTree } from './process-tree.ts';
import { parseDuration } from './time-argument.ts';
import { natsServerSpec, reachBus } from './up-bus.ts';
import { whatNext } from './up-hints.ts';
import { claimDataDir, removeUpRecord, writeUpRecord } from './up-record.ts';
import { serviceSpecs, untilReady, watchServices } from './up-services.ts';
import { UsageError } from './usage-error.ts';
import { parsed, type RunVerb, type VerbContext } from './verb.ts';

export interface UpOptions {
  readonly demo?: true;
  readonly target?: readonly string[];
  readonly auto?: true;
  readonly channels?: readonly string[];
  readonly duration?: number;
  readonly output: OutputFormat;
}

/** The commands that the tree is made of; tests put their own in place. */
export interface Programs {
  readonly natsServer: () => string;
  readonly verb: (name: string, args: readonly string[]) => Command;
}

const INSTALLED: Programs = { natsServer: findNatsServer, verb: verbCommand };
const MAX_DURATION_MS = 24 * 24 * 3_600_000; // Node's timers end below 25 days

export function addUp(program: Verb, run: RunVerb): void {
  program
    .command('up')
    .summary('all in one on this machine')
    .description(
      'Run NATS, capture, correlator and sink on this machine and print flows as they come. Needs root.',
    )
    .option('--demo', 'also run a demo server, watch it and send it a few requests')
    .option('--target <pid|path|glob>', 'a Go server to watch, running now or later; may be repeated', append)
    .option('--auto', 'watch every Go server on this machine')
    .option(
      '--channels <pid|path|glob>',
      'follow jobs through channels to worker goroutines in these, too; may be repeated',
      append,
    )
    .option(
      '--duration <time>',
      'stop by itself this long after everything is ready: 20s, 5m',
      parsed('--duration', duration),
    )
    .addOption(new Option('-o, --output <format>', 'form of a line').choices(OUTPUTS).default('compact'))
    .addHelpText(
      'after',
      '\nExamples:\n  flowtag up --demo\n  flowtag up --target /usr/local/bin/server --target 4321\n  flowtag up --auto --duration 20s -o json\n\nCtrl-C stops everything in order, a second one at once.',
    )
    .action((options: UpOptions, command: Verb) => run(command, (context) => up(options, context)));
}

export async function up(options: UpOptions, context: VerbContext, programs = INSTALLED): Promise<number> {
  const { say, out } = context;
  const interrupts = context.untilInterrupted();
  if (context.server !== undefined)
    say('up runs a NATS server of its own: --server and FLOWTAG_SERVER are not used');
  const dataDir = resolve(context.dataDir);
  const log = new ChildLog(makeLogFolder(dataDir), say);
  const failed = new AbortController();
  let exitCode = 0;
  const tree = new ProcessTree(
    deathSignalPrefix(),
    {
      onLine: (name, line) => log.accept(name, line),
      onExit: (name, exit, restartMs) => {
        log.explainExit(name, exit, restartMs);
        if (restartMs !== undefined || DEMO_NAMES.has(name)) return;
        exitCode = exit.code ?? 1;
        failed.abort();
      },
    },
    (name) => say(`${name} did not stop in time and was killed`),
  );
  interrupts.kill.addEventListener('abort', () => {
    exitCode = 1;
    tree.kill();
  });
  const end = AbortSignal.any([interrupts.stop, out.closed, failed.signal]);
  try {
    tree.defer(await claimDataDir(dataDir));
    await bringUp({ options, context, programs, tree, dataDir, end });
    await ended(end, options.duration);
  } catch (error) {
    if (!end.aborted) throw error; // after an interrupt, a step that was cut short is no failure
  } finally {
    await tree.stop();
    log.close();
  }
  return exitCode;
}

interface Run {
  readonly options: UpOptions;
  readonly context: VerbContext;
  readonly programs: Programs;
  readonly tree: ProcessTree;
  readonly dataDir: string;
  readonly end: AbortSignal;
}

async function bringUp({ options, context, programs, tree, dataDir, end }: Run): Promise<void> {
  const { say, out, paint } = context;
  say(`starting nats, sink, correlator and capture; data and logs are in ${dataDir}`);
  const [startMs, startNs] = [performance.now(), nowNs()];
  const { spec, server } = await natsServerSpec(programs.natsServer(), dataDir);
  const nats = tree.start(spec);
  const bus = await reachBus(server, end);
  tree.defer(() => bus.close());
  writeUpRecord(dataDir, { server, pid: process.pid });
  tree.defer(() => removeUpRecord(dataDir));

  let first: Flow | undefined;
  const feed = new FlowFeed(
    bus,
    (flow) => {
      // Not what a correlator repeats from before: that says nothing about the probes of now.
      if (first === undefined && flow.time !== null && flow.time >= startNs) first = flow;
      out.write(formatFlow(options.output, flow, paint));
    },
    say,
  );
  feed.release();
  const board = watchServices(bus, say);
  const demoUrl = options.demo ? await startDemo(tree, join(dataDir, 'log')) : undefined;
  const targets = [...(options.target ?? []), ...(options.demo ? [DEMO_BINARY] : [])];
  end.throwIfAborted();
  for (const service of serviceSpecs(programs.verb, server, dataDir, {
    targets,
    auto: options.auto ?? false,
    channels: options.channels ?? [],
  }))
    tree.start(service);

  if (await untilReady(board, say, end))
    say(`ready after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  void watchBus(bus, () => nats.restart(), say, end);
  if (demoUrl) await driveDemo(demoUrl, () => first !== undefined, end);
  if (demoUrl && !first && !end.aborted) say('the demo got requests, but no flow came; the logs may say why');
  if (!end.aborted) say(whatNext(context.dataDir, demoUrl, first));
}

function makeLogFolder(dataDir: string): string {
  const folder = join(dataDir, 'log');
  try {
    makeFolders(folder);
  } catch (cause) {
    throw new FlowtagError(
      'DATA_DIR',
      `cannot create ${folder}: ${(cause as Error).message}; give another --data-dir`,
      { cause },
    );
  }
  return folder;
}

/** Not by `recursive`: Node 20 then tries for ever where a file system answers ENOENT, as /proc does. */
function makeFolders(folder: string): void {
  if (existsSync(folder)) return;
  makeFolders(dirname(folder));
  mkdirSync(folder, { mode: 0o700 }); // captured paths are nobody else's business
}

/** Not AbortSignal.timeout inside AbortSignal.any: in Node 20 it is collected as garbage and never fires. */
async function ended(signal: AbortSignal, withinMs?: number): Promise<void> {
  if (withinMs === undefined) await aborted(signal);
  else await settledWithin(aborted(signal), withinMs);
}

function append(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms > MAX_DURATION_MS)
    throw new UsageError(`"${text}" is too long; without --duration it runs until Ctrl-C`);
  return ms;
}
