// `npm run bench -- overhead [--check]`: measures, writes docs/performance.md.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { findBpftrace } from './bpftrace.ts';
import { machineFacts } from './machine.ts';
import { measureOverhead, type Plan } from './overhead.ts';
import { missedTargets, performancePage } from './report.ts';
import type { Results } from './results.ts';

const RAW = 'build/bench/overhead.json';
const USAGE = `usage: npm run bench -- overhead [options]
  --pairs N           pairs of each set-up, an even number          (10)
  --requests N        requests of a pair to each server             (4000)
  --rate R            requests a second to each server             (2000)
  --saturation-ms MS  how long each server is driven at its limit, twice (1000)
  --out FILE          page to write                                 (docs/performance.md)
  --check             exit 1 when flowtag costs more than its targets allow
Needs root and a machine that does nothing else. Every figure goes to ${RAW}.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const options = optionsOf(argv);
  if (!options) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    process.stderr.write('bench: not root: probes cannot be attached\n');
    return 3;
  }
  const { plan, out, check } = options;
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'])
    process.once(name, () => interrupted.abort(new Error(`ended by ${name}: nothing was written`)));
  const say = (line: string): boolean => process.stderr.write(`bench: ${line}\n`);
  try {
    const bpftrace = await findBpftrace();
    const machine = await machineFacts(bpftrace.version);
    const results: Results = {
      command: ['npm run bench --', ...argv].join(' '),
      machine,
      ...plan,
      ...(await measureOverhead(plan, bpftrace, interrupted.signal, say)),
    };
    await mkdir(dirname(RAW), { recursive: true });
    await writeFile(RAW, `${JSON.stringify(results, undefined, 1)}\n`);
    await writeFile(out, performancePage(results));
    say(`wrote ${out}`);
    const missed = missedTargets(results);
    for (const target of missed) say(`target missed: ${target}`);
    return check && missed.length > 0 ? 1 : 0;
  } catch (error) {
    const cause = interrupted.signal.aborted ? interrupted.signal.reason : error;
    say(interrupted.signal.aborted ? cause.message : (cause.stack ?? String(cause)));
    return 1;
  }
}

function optionsOf(argv: readonly string[]): { plan: Plan; out: string; check: boolean } | undefined {
  const number = (preset: number) => ({ type: 'string', default: `${preset}` }) as const;
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        pairs: number(10),
        requests: number(4_000),
        rate: number(2_000), // at lower rates every cache is cold, and all figures scatter
        'saturation-ms': number(1_000),
        out: { type: 'string', default: 'docs/performance.md' },
        check: { type: 'boolean', default: false },
      },
    });
    const plan = {
      pairs: Number(values.pairs),
      requests: Number(values.requests),
      ratePerSecond: Number(values.rate),
      saturationMs: Number(values['saturation-ms']),
    };
    const isValid =
      positionals.join() === 'overhead' &&
      isWhole(plan.pairs, 2, 100) &&
      plan.pairs % 2 === 0 && // each server is the probed one equally often
      isWhole(plan.requests, 100, 100_000) &&
      isWhole(plan.ratePerSecond, 10, 10_000) &&
      isWhole(plan.saturationMs, 100, 60_000);
    return isValid ? { plan, out: values.out, check: values.check } : undefined;
  } catch {
    return undefined;
  }
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
