// kill -9 of the correlator and of the sink in the middle of a load: each connection is still stored exactly once.
// What is stored is asked of the store itself, not of flowtag.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flowAnswers, score } from '../support/accuracy.ts';
import {
  type Downstream,
  type Running,
  runLoad,
  startDemo,
  startDownstream,
  targetPath,
} from '../support/targets.ts';
import { Up } from '../support/up.ts';

const CLIENTS = 100;
const REQUESTS = 2000;
let up: Up;
let downstream: Downstream;
let demo: Running;

beforeAll(async () => {
  up = await Up.start(['--target', targetPath('demo')]);
  downstream = await startDownstream();
  demo = await startDemo(downstream);
});

afterAll(async () => {
  await demo.stop();
  await downstream.stop();
  await up.stop();
});

/** Rows and distinct flow ids of the requests below `prefix`. */
async function counts(prefix: string): Promise<{ rows: number; ids: number }> {
  const { url, user, password } = JSON.parse(
    readFileSync(join(up.dataDir, 'store', 'endpoint.json'), 'utf8'),
  );
  const query = `SELECT count() AS rows, uniqExact(flow_id) AS ids FROM flows WHERE startsWith(url_path, '${prefix}') FORMAT JSONEachRow`;
  const response = await fetch(url, {
    method: 'POST',
    body: query,
    headers: { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password },
  });
  const row = (await response.json()) as Record<string, string>;
  return { rows: Number(row.rows), ids: Number(row.ids) };
}

test.each([
  ['correlator', ['correlator'], 0],
  ['sink', ['sink'], 1],
  ['correlator and sink, twice', ['correlator', 'sink', 'sink', 'correlator'], 2],
] as const)('kill -9 of %s', async (_, victims, round) => {
  const path = `/work/${round}`;
  const load = runLoad({ server: demo, path, requests: REQUESTS, clients: CLIENTS });
  for (const role of victims) {
    await sleep(300);
    await expect.poll(() => up.pidOf(role).catch(() => 0), { timeout: 15_000 }).toBeGreaterThan(0);
    process.kill(await up.pidOf(role), 'SIGKILL');
  }
  await load;
  await runLoad({ server: demo, path, requests: 100, clients: 10, first: REQUESTS }); // life goes on
  const truth = (await downstream.requests()).filter(({ requestPath }) => requestPath.startsWith(`${path}/`));
  expect(truth).toHaveLength(REQUESTS + 100);
  const mine = (flows: Awaited<ReturnType<Up['stored']>>) =>
    flows.filter((flow) => String(flow['url.path']).startsWith(`${path}/`));
  const flows = mine(await up.storedUntil((all) => mine(all).length >= truth.length));
  expect(score(truth, flowAnswers(flows))).toEqual({
    right: truth.length,
    wrong: 0,
    missing: 0,
    surplus: 0,
    of: truth.length,
  });
  expect(await counts(`${path}/`)).toEqual({ rows: truth.length, ids: truth.length });
});
