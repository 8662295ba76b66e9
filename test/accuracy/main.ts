// `npm run accuracy`: every case with every Go version and build, and caddy; writes docs/accuracy.md.
// Stopped half-way, `--resume` goes on with what is missing; results are kept in build/accuracy/results.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { parseArgs } from 'node:util';
import { sectionOf, withSection } from '../kernels/script-section.ts';
import { BUILDS, type Build, buildCases, findToolchain, type Toolchain, whyNot } from './builds.ts';
import { CADDY, caddyVersion, runCaddy, UPSTREAMS } from './caddy.ts';
import { possibleCases } from './cases.ts';
import { type Measurement, measure } from './measure.ts';
import { deviationOf, report } from './report.ts';
import { ResultFiles } from './results.ts';
import { runCase } from './run-case.ts';

const OUTPUT = 'docs/accuracy.md';
const { values } = parseArgs({
  options: {
    go: { type: 'string', default: '1.19,1.21,1.24,1.27' },
    builds: { type: 'string', default: BUILDS.join(',') },
    cases: { type: 'string', default: '' },
    clients: { type: 'string', default: '1000' },
    requests: { type: 'string', default: '3000' },
    'no-caddy': { type: 'boolean', default: false },
    resume: { type: 'boolean', default: false },
    output: { type: 'string', default: OUTPUT },
  },
});
const clients = count('clients', values.clients, 1_000);
const requests = count('requests', values.requests, 1_000_000);
const wanted = values.cases === '' ? undefined : new Set(values.cases.split(','));
const cases = possibleCases().filter(({ name }) => wanted?.has(name) ?? true);
const builds = values.builds.split(',').map((build) => {
  if (!(BUILDS as readonly string[]).includes(build))
    usage(`--builds: ${build} is not one of ${BUILDS.join(', ')}`);
  return build as Build;
});
for (const name of wanted ?? [])
  if (!cases.some((one) => one.name === name)) usage(`--cases: there is no case ${name} on this machine`);

const toolchains: Toolchain[] = [];
for (const minor of values.go.split(','))
  toolchains.push(
    await findToolchain(minor).catch((error: Error) =>
      usage(`--go: there is no Go ${minor} here: ${error.message}`),
    ),
  );
const results = new ResultFiles();
if (!values.resume) results.clear();
for (const toolchain of toolchains)
  for (const build of builds) {
    const reason = whyNot(toolchain, build);
    if (reason === undefined) await measure(goProgram(toolchain, build), results, say);
    else say(`Go ${toolchain.version}, ${build}: ${reason}`);
  }
if (!values['no-caddy']) await measure(await caddy(), results, say);
// The section that another run wrote stays.
const kernels = existsSync(values.output) ? sectionOf(readFileSync(values.output, 'utf8')) : '';
const command = ['npm run accuracy', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])];
const page = report(results.all(), {
  date: new Date().toISOString().slice(0, 10),
  command: command.join(' '),
  kernel: release(),
  processors: availableParallelism(),
  node: process.versions.node,
});
writeFileSync(values.output, kernels === '' ? page : withSection(page, kernels));
const deviations = results.all().flatMap((one) => one.cases.flatMap(deviationOf));
say(`${values.output} is written; ${deviations.length} cases are not as they should be`);
process.exit(deviations.length === 0 ? 0 : 1);

function goProgram(toolchain: Toolchain, build: Build): Measurement {
  let program = '';
  return {
    subject: { program: `Go ${toolchain.version}`, build },
    build: async () => {
      program = await buildCases(toolchain, build);
      return program;
    },
    jobs: cases.map((one) => ({
      head: { case: one.name, requests, clients, ...(one.outOfReach ? { outOfReach: one.outOfReach } : {}) },
      run: (recorder) => runCase(one, { recorder, program, requests, clients }),
    })),
  };
}

async function caddy(): Promise<Measurement> {
  return {
    subject: { program: `caddy ${await caddyVersion()}`, build: 'as Debian ships it' },
    build: async () => CADDY,
    jobs: UPSTREAMS.map((upstream) => ({
      head: { case: upstream, requests, clients },
      run: (recorder) => runCaddy(upstream, { recorder, requests, clients }),
    })),
  };
}

function count(option: string, text: string, max: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > max)
    usage(`--${option}: ${text} is not 1 to ${max}`);
  return number;
}

function say(text: string): void {
  process.stderr.write(`accuracy: ${text}\n`);
}

function usage(problem: string): never {
  say(problem);
  process.exit(2);
}
