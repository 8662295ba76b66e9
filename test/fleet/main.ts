// `npm run reliability`: the whole fault table and a million hostile messages; writes docs/reliability.md.
import { writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { type HostileOutcome, hostileBreaches, runHostile } from './hostile.ts';
import { reliabilityPage } from './report.ts';
import { Rig } from './rig.ts';
import { ROWS } from './rows.ts';
import { breaches, type Outcome, type Plan, runRow } from './run-row.ts';

const PAGE = 'docs/reliability.md';
const USAGE = `usage: npm run reliability -- [options]
  --row NAME          only this one, and no page is written; again for more: ${ROWS.map(({ name }) => name).join(' ')} hostile
  --seconds S         of load on each row               (60)
  --hosts N           simulated hosts                   (8)
  --hostile N         hostile messages                  (1000000)
  --seed N            of the hostile messages           (20261127)
Needs a machine that does nothing else.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const options = optionsOf(argv);
  if (!options) {
    process.stderr.write(USAGE);
    return 2;
  }
  const { plan, names, messages, seed } = options;
  const machine = {
    date: new Date().toISOString().slice(0, 10),
    processors: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: release(),
    'Node.js': process.version,
    'load average at the start': loadavg()[0]!.toFixed(2),
  };
  const isAsked = (name: string): boolean => names.length === 0 || names.includes(name);
  const rows: Outcome[] = [];
  const problems: string[] = [];
  for (const row of ROWS.filter(({ name }) => isAsked(name))) {
    const rig = await Rig.open({ hosts: plan.hosts, cluster: row.cluster ?? false });
    try {
      const outcome = await runRow(rig, row, plan);
      rows.push(outcome);
      say(`${row.name}: ${JSON.stringify(outcome)}`);
      problems.push(...breaches(row, outcome).map((breach) => `${row.name}: ${breach}`));
    } finally {
      await rig.close();
    }
  }
  let hostile: HostileOutcome | undefined;
  if (isAsked('hostile')) {
    hostile = await runHostile({ messages, seed });
    say(`hostile: ${JSON.stringify(hostile)}`);
    problems.push(...hostileBreaches(hostile).map((breach) => `hostile: ${breach}`));
  }
  if (names.length === 0 && hostile) {
    const command = ['npm run reliability', ...(argv.length > 0 ? ['--', ...argv] : [])].join(' ');
    await writeFile(PAGE, reliabilityPage({ command, machine, plan, rows, hostile }));
    say(`wrote ${PAGE}`);
  }
  for (const problem of problems) say(`NOT MET: ${problem}`);
  return problems.length > 0 ? 1 : 0;
}

interface Options {
  readonly plan: Plan;
  readonly names: readonly string[];
  readonly messages: number;
  readonly seed: number;
}

function optionsOf(argv: readonly string[]): Options | undefined {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        row: { type: 'string', multiple: true, default: [] },
        seconds: { type: 'string', default: '60' },
        hosts: { type: 'string', default: '8' },
        hostile: { type: 'string', default: '1000000' },
        seed: { type: 'string', default: '20261127' },
      },
    });
    const [seconds, hosts, messages, seed] = [values.seconds, values.hosts, values.hostile, values.seed].map(
      Number,
    );
    const known = values.row.every((name) => name === 'hostile' || ROWS.some((row) => row.name === name));
    const isValid =
      known && isWhole(seconds!, 6, 3_600) && isWhole(hosts!, 4, 64) && isWhole(messages!, 1_000, 1e8);
    if (!isValid || !isWhole(seed!, 0, 2 ** 32 - 1)) return undefined;
    const loadMs = 1_000 * seconds!;
    const plan = { hosts: hosts!, loadMs, awayMs: loadMs / 3 };
    return { plan, names: values.row, messages: messages!, seed: seed! };
  } catch {
    return undefined;
  }
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function say(line: string): void {
  process.stderr.write(`reliability: ${line}\n`);
}
