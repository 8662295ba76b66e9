// flowtag comes to a program that has run for a while: warm pools, and a load that does not pause for it.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { flowAnswers, judge } from '../support/accuracy.ts';
import { startCases, startDownstream, targetPath } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { Up } from '../support/up.ts';
import { Recorder } from './recorder.ts';
import { isComplete } from './run-case.ts';

const PATHS = ['/pool', '/tls', '/h2', '/rawpool', '/slowpool', '/fresh', '/nested/3'];
const CLIENTS = '64';
const RATE = '600'; // requests a second
const WARM = 64;
/** Room for what was under way: requests that were in flight at the attach are not tracked. */
const SETTLE_MS = 1_500;
const MEASURE_MS = 4_000;

test('of the requests that begin after the attach none is wrong and none is missed', async () => {
  const downstream = await startDownstream();
  const server = await startCases(downstream, { warm: WARM });
  const urls = PATHS.flatMap((path) => ['-url-prefix', `http://${server.listen}${path}`]);
  const load = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', targetPath('load'), ...urls, '-n', '1000000', '-c', CLIENTS, '-rate', RATE],
    { stdio: 'ignore' },
  );
  await sleep(1_000);
  const up = await Up.start(['--target', String(server.pid)]);
  const recorder = await Recorder.open(up);
  try {
    await sleep(SETTLE_MS);
    const fromMs = Date.now();
    await sleep(MEASURE_MS);
    const uptoMs = Date.now();

    const isIn = (time: string): boolean => Date.parse(time) >= fromMs && Date.parse(time) < uptoMs;
    const requests = await downstream.requests();
    const dials = await server.dials();
    const measured = truthOf(
      requests.filter(({ time }) => isIn(time)),
      dials.filter(({ began, time }) => isIn(began) && isIn(time)),
    );
    const answers = () => flowAnswers(recorder.flowsOf(server.pid));
    await recorder.until(() => isComplete(judge(measured, answers())), 3_000);
    const { use, dial } = judge(measured, answers());
    expect(use.of).toBeGreaterThan(1_000);
    expect({ use: use.found, dial: dial.found }).toEqual({ use: use.of, dial: dial.of });

    // Everything that was said, from the first flow on, against everything that has happened by now.
    const said = answers();
    await sleep(500);
    const all = judge(truthOf(await downstream.requests(), await server.dials()), said);
    const mistakes = all.problems.filter((problem) => !problem.startsWith('nobody names'));
    expect({ mistakes, wrong: all.wrong, repeated: all.repeated }).toEqual({
      mistakes: [],
      wrong: 0,
      repeated: 0,
    });
    const flows = recorder.flowsOf(server.pid);
    const older = flows.filter((flow) => flow['flowtag.attribution.reason'] === 'predates_capture');
    expect(older.filter((flow) => flow['flowtag.request.id'] !== null).length).toBeGreaterThan(WARM);
  } finally {
    load.kill('SIGKILL');
    await recorder.close();
    await up.stop();
    await server.stop();
    await downstream.stop();
  }
}, 120_000);
