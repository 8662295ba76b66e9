// The least that capture needs of an ordinary user, tried for each way to see sockets and requests.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BACKENDS } from '../../services/capture/backends.ts';
import { type Capability, type Means, neededFor, PARANOID } from '../../services/capture/capabilities.ts';
import { startCases, startDownstream } from '../support/targets.ts';
import type { RightsResult } from './result.ts';

const ATTACH = fileURLToPath(new URL('attach.js', import.meta.url));
const NOBODY = '65534';
const LIMIT_MS = 120_000;

const run = promisify(execFile);

/** With the kernel's own perf_event_paranoid, and where a kprobe is the only perf event, with 2 as well. */
export async function tryRights(kinds: readonly Means['uprobes'][]): Promise<RightsResult[]> {
  const downstream = await startDownstream();
  const server = await startCases(downstream);
  const paranoid = Number(readFileSync(PARANOID, 'latin1'));
  const results: RightsResult[] = [];
  try {
    const attempt = async (means: Means, value: number): Promise<void> => {
      const tried = await tryMeans(means, neededFor(means, value), server.pid);
      results.push({ ...means, paranoid: value, ...tried });
    };
    for (const uprobes of kinds)
      for (const backend of BACKENDS) await attempt({ backend, uprobes }, paranoid);
    if (kinds.includes('multi') && paranoid > 2) {
      writeFileSync(PARANOID, '2');
      await attempt({ backend: 'kprobe', uprobes: 'multi' }, 2);
    }
    return results;
  } finally {
    writeFileSync(PARANOID, String(paranoid));
    await server.stop();
    await downstream.stop();
  }
}

/** All of them, and all but one for each, two at a time: most of it is the start of a process. */
async function tryMeans(
  means: Means,
  needed: readonly Capability[],
  pid: number,
): Promise<Pick<RightsResult, 'needed' | 'withAll' | 'without'>> {
  const sets = [needed, ...needed.map((left) => needed.filter((each) => each !== left))];
  const said: string[] = [];
  while (said.length < sets.length) {
    const two = sets.slice(said.length, said.length + 2);
    said.push(...(await Promise.all(two.map((set) => attachWith(set, means, pid)))));
  }
  const without = needed.map((left, at) => [left, said[at + 1]!] as const);
  return { needed, withAll: said[0]!, without: Object.fromEntries(without) };
}

async function attachWith(
  capabilities: readonly Capability[],
  { backend, uprobes }: Means,
  pid: number,
): Promise<string> {
  const list = capabilities.map((name) => `+${name.toLowerCase()}`).join(',');
  const user = ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', '--pdeathsig', 'KILL'];
  const rights = ['--inh-caps', list, '--ambient-caps', list, '--bounding-set', `-all,${list}`];
  const attach = [ATTACH, '--backend', backend, '--uprobes', uprobes, '--pid', String(pid)];
  const { stdout } = await run('setpriv', [...user, ...rights, process.execPath, ...attach], {
    timeout: LIMIT_MS,
  });
  return stdout.trim();
}
