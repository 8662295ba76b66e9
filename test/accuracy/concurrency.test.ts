// 100 concurrent clients, every request with a path of its own: each connection that the downstream logged must be
// stored exactly once with its own path. The pid-keyed rule on the very same events stands beside it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flowAnswers, judge, precision } from '../support/accuracy.ts';
import {
  type Downstream,
  type Running,
  runLoad,
  startDemo,
  startDownstream,
  targetPath,
} from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { Up } from '../support/up.ts';
import { Recorder } from './recorder.ts';

const REQUESTS = 1500;
const CLIENTS = 100;
let up: Up;
let recorder: Recorder;
let downstream: Downstream;
let demo: Running;

beforeAll(async () => {
  up = await Up.start(['--target', targetPath('demo')]);
  recorder = await Recorder.open(up);
  downstream = await startDownstream();
  demo = await startDemo(downstream);
});

afterAll(async () => {
  await demo.stop();
  await downstream.stop();
  await recorder.close();
  await up.stop();
});

test.each([
  ['dials at once', '/echo'],
  ['waits 0 to 20 ms before it dials', '/work'],
  ['dials from a goroutine three deep', '/nested'],
])('handler that %s', async (name, path) => {
  recorder.clear();
  await runLoad({ server: demo, path, requests: REQUESTS, clients: CLIENTS });
  const truth = truthOf(
    (await downstream.requests()).filter(({ requestPath }) => requestPath.startsWith(path)),
  );
  expect(truth.uses.size).toBe(REQUESTS);

  const mine = (flows: Awaited<ReturnType<Up['stored']>>) =>
    flows.filter((flow) => String(flow['url.path']).startsWith(path));
  const flows = mine(await up.storedUntil((all) => mine(all).length >= REQUESTS));
  const exact = judge(truth, flowAnswers(flows));
  const byPid = judge(truth, recorder.rules.answers(demo.pid, 'process'));
  process.stderr.write(
    `${name}: keyed by pid ${((100 * byPid.use.found) / REQUESTS).toFixed(1)} % found, ${byPid.wrong} wrong\n`,
  );
  expect(exact.problems).toEqual([]);
  expect(exact).toMatchObject({ wrong: 0, repeated: 0, use: { of: REQUESTS, found: REQUESTS } });
  expect(flows).toHaveLength(REQUESTS);
  if (path === '/work') expect(precision(byPid.use)).toBeLessThan(0.5);
});
