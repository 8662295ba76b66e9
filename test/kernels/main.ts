// `npm run test:kernels`: flowtag on the kernels of several Debian releases, each in a virtual machine.
// Exit codes: 0 everything is as it should be, 1 something is not, 2 wrong usage.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BACKENDS } from '../../services/capture/backends.ts';
import { findBpftrace } from '../bench/bpftrace.ts';
import { targetPath } from '../support/targets.ts';
import { compileInside, runKernel } from './machine.ts';
import { matrixPage } from './matrix.ts';
import { type Budget, deviationsOf, type Run, table } from './result.ts';
import { deviationsOfScript, scriptSection, withSection } from './script-section.ts';

const KERNELS = ['5.10', '6.1', '6.12'];
const CASES = ['fresh', 'pool', 'h2', 'rawpool', 'fanout'];
const PARTS = ['pipeline', 'lockdown', 'rights', 'script'];
/** Without the rights and the script, each of which takes as long under emulation as all the rest. */
const QUICK_PARTS = ['pipeline', 'lockdown'];
const USAGE = `usage: npm run test:kernels -- [options]
  --kernel NAME     one of ${KERNELS.join(', ')}; repeatable (all)
  --backend NAME    one of auto, ${BACKENDS.join(', ')}; repeatable (all but auto)
  --program FILE    test/targets/cases built with some Go; repeatable (that of the tests)
  --part NAME       what to do beside the backends, one of ${PARTS.join(', ')}; repeatable (pipeline, lockdown)
  --case NAME       of test/accuracy/cases.ts; repeatable (${CASES.join(', ')})
  --requests N      of each case, at most 100 (40)
  --clients N       at once, at most 100 (40)
  --report FILE     write all results there, as JSON
  --matrix FILE     write the table of what works there, as Markdown
  --accuracy FILE   write the figures of the part script into this page
`;

process.exitCode = await main();

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options === undefined) {
    process.stderr.write(USAGE);
    return 2;
  }
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'])
    process.once(name, () => interrupted.abort(new Error(`ended by ${name}`)));
  const runs: Run[] = [];
  try {
    if (options.parts.includes('script')) await findBpftrace(); // there is no network inside
    await compileInside(interrupted.signal);
    for (const kernel of options.kernels) {
      say(`Linux ${kernel}`);
      runs.push(await runKernel(kernel, options.inside, interrupted.signal));
    }
  } catch (error) {
    say((error as Error).message);
    return 1;
  }
  const budget = JSON.parse(readFileSync('bpf/verifier-budget.json', 'utf8')) as Budget;
  const deviations = runs.flatMap((run) => [...deviationsOf(run, budget), ...deviationsOfScript(run)]);
  if (options.report) writeFileSync(options.report, `${JSON.stringify({ runs, deviations }, null, 1)}\n`);
  if (options.matrix) writeFileSync(options.matrix, matrixPage(runs, process.argv.slice(2)));
  if (options.accuracy && runs.some(({ result }) => result?.sideBySide?.backends)) {
    const section = scriptSection(runs, process.argv.slice(2));
    writeFileSync(options.accuracy, withSection(readFileSync(options.accuracy, 'utf8'), section));
  }
  process.stdout.write(table(runs));
  for (const deviation of deviations) say(`NOT AS IT SHOULD BE: ${deviation}`);
  return deviations.length === 0 ? 0 : 1;
}

function optionsOf(argv: readonly string[]) {
  const list = { type: 'string', multiple: true } as const;
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        kernel: { ...list, default: KERNELS },
        backend: { ...list, default: [...BACKENDS] },
        part: { ...list, default: QUICK_PARTS },
        program: { ...list, default: [targetPath('cases')] },
        case: { ...list, default: CASES },
        requests: { type: 'string', default: '40' },
        clients: { type: 'string', default: '40' },
        report: { type: 'string' },
        matrix: { type: 'string' },
        accuracy: { type: 'string' },
      },
    });
    const known =
      values.kernel.every((name) => KERNELS.includes(name)) &&
      values.backend.every((name) => ['auto', ...BACKENDS].includes(name)) &&
      values.part.every((name) => PARTS.includes(name)) &&
      [values.requests, values.clients].every((text) => /^[1-9]\d?$|^100$/.test(text));
    if (!known) return undefined;
    const inside = [
      ...values.backend.flatMap((name) => ['--backend', name]),
      ...values.part.flatMap((name) => ['--part', name]),
      ...values.program.flatMap((path) => ['--program', resolve(path)]),
      ...values.case.flatMap((name) => ['--case', name]),
      ...['--requests', values.requests, '--clients', values.clients],
    ];
    const { kernel: kernels, part: parts, report, matrix, accuracy } = values;
    return { kernels, parts, report, matrix, accuracy, inside };
  } catch {
    return undefined;
  }
}

function say(text: string): void {
  process.stderr.write(`kernels: ${text}\n`);
}
