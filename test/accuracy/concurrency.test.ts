// 100 concurrent clients, every request with a path of its own: each connection that the downstream logged must be
// stored exactly once with its own path. The pid-keyed rule on the very same events stands beside it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { flowAnswers, PidKeyed, type Score, score } from '../support/accuracy.ts';
import {
  type Downstream,
  type Running,
  runLoad,
  startDemo,
  startDownstream,
  targetPath,
} from '../support/targets.ts';
import { Up } from '../support/up.ts';

const REQUESTS = 1500;
const CLIENTS = 100;
let up: Up;
let bus: Bus;
let downstream: Downstream;
let demo: Running;

beforeAll(async () => {
  up = await Up.start(['--target', targetPath('demo')]);
  const { server } = JSON.parse(readFileSync(join(up.dataDir, 'up.json'), 'utf8')) as { server: string };
  bus = await connectBus({ server, name: 'accuracy test', log: createLogger('test', 'silent') });
  downstream = await startDownstream();
  demo = await startDemo(downstream);
});

afterAll(async () => {
  await demo.stop();
  await downstream.stop();
  await bus.close();
  await up.stop();
});

test.each([
  ['dials at once', '/echo'],
  ['waits 0 to 20 ms before it dials', '/work'],
  ['dials from a goroutine three deep', '/nested'],
])('handler that %s', async (name, path) => {
  const pidKeyed = new PidKeyed();
  const events = bus.subscribe('flowtag.ev.>', (message) => pidKeyed.accept(message));
  await runLoad({ server: demo, path, requests: REQUESTS, clients: CLIENTS });
  const truth = (await downstream.requests()).filter(({ requestPath }) => requestPath.startsWith(path));
  expect(truth).toHaveLength(REQUESTS);

  const mine = (flows: Awaited<ReturnType<Up['stored']>>) =>
    flows.filter((flow) => String(flow['url.path']).startsWith(path));
  const flows = mine(await up.storedUntil((all) => mine(all).length >= REQUESTS));
  events.close();
  const exact = score(truth, flowAnswers(flows));
  const byPid = score(truth, pidKeyed.answers());
  process.stderr.write(`${name}: flowtag ${text(exact)}; keyed by pid ${text(byPid)}\n`);
  expect(exact).toEqual({ right: REQUESTS, wrong: 0, missing: 0, surplus: 0, of: REQUESTS });
  expect(flows).toHaveLength(REQUESTS);
  if (path === '/work') expect(byPid.right).toBeLessThan(REQUESTS / 2);
});

function text({ right, of, wrong, missing }: Score): string {
  return `${((100 * right) / of).toFixed(1)} % right (${wrong} wrong, ${missing} missing of ${of})`;
}
