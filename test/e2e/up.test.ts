// `flowtag up --demo` and the verbs beside it, as the README shows them.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bpfLinks } from '../support/kernel-bpf.ts';
import type { DownstreamRequest } from '../support/targets.ts';
import { type FlowJson, flowtag, jsonLines, localEnd, processesWith, Up } from '../support/up.ts';

let up: Up;
let linksBefore: number[];

beforeAll(async () => {
  linksBefore = bpfLinks();
  up = await Up.start(['--demo']);
  await up.storedUntil((flows) => flows.length >= 5);
});

afterAll(() => up.stop());

/** What the downstream logged, by the caller's end of the connection. */
function truth(): Map<string, string> {
  const log = readFileSync(join(up.dataDir, 'log', 'downstream-requests.jsonl'), 'utf8');
  const requests = log
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as DownstreamRequest);
  return new Map(requests.map(({ peer, requestPath }) => [peer, requestPath.split('?')[0]!]));
}

const pathOf = (flow: FlowJson) => flow['url.path'];

test('flows of the demo name the path that the downstream logged for that very port', () => {
  expect(up.flows.length).toBeGreaterThanOrEqual(5);
  const expected = truth();
  for (const flow of up.flows) {
    expect(pathOf(flow)).toBe(expected.get(localEnd(flow)));
    expect(flow).toMatchObject({
      'host.name': hostname(),
      'process.executable.name': 'demo',
      'flowtag.connection': 'new',
    });
    expect(flow['flowtag.attribution.verdict']).toMatch(/^(exact|lineage)$/);
    expect(flow['process.pid']).toBeGreaterThan(1);
    expect(flow.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  }
  expect(new Set(up.flows.map(localEnd)).size).toBe(up.flows.length);
});

test('observe shows history, and lookup finds the request by either end or both', async () => {
  const { stdout, code } = await up.run('observe', '-o', 'json', '--last', '3');
  expect(code).toBe(0);
  const last = jsonLines(stdout);
  expect(last).toEqual((await up.stored()).slice(-3));
  const flow = last[2]!;
  const peer = `${flow['network.peer.address']}:${flow['network.peer.port']}`;
  for (const ends of [[localEnd(flow)], [localEnd(flow), peer], [peer, localEnd(flow)]]) {
    const found = await up.run('lookup', ...ends, '-o', 'json');
    expect(found.code, found.stderr).toBe(0);
    expect(jsonLines(found.stdout)).toEqual([flow]);
  }
  const compact = await up.run('lookup', localEnd(flow));
  expect(compact.stdout).toContain(`GET ${pathOf(flow)} | ${localEnd(flow)} -> ${peer} new `);
});

test('lookup says plainly when nothing is known', async () => {
  const { code, stdout, stderr } = await up.run('lookup', '192.0.2.1:9');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toContain('192.0.2.1:9');
});

test('doctor says that this machine can be probed', async () => {
  const { code, stdout } = await up.run('doctor', '--target', 'build/targets/demo');
  expect(stdout).toMatch(/ok\s+programs/);
  expect(stdout).toMatch(/ok\s+target build\/targets\/demo\s+go1\./);
  expect(stdout).toMatch(/ok\s+NATS/);
  expect(code).toBe(0);
});

test('a second up on the same data directory is refused', async () => {
  const { code, stderr } = await flowtag('up', '--demo', '--data-dir', up.dataDir);
  expect(code).toBe(1);
  expect(stderr).toContain('runs already');
});

test('Ctrl-C leaves no process, no BPF link and no record of it', async () => {
  expect(await up.stop()).toBe(0);
  expect(await processesWith(up.dataDir)).toEqual([]);
  await expect.poll(bpfLinks).toEqual(linksBefore); // the kernel frees them a moment later
});

test('kill -9 of up takes everything with it', async () => {
  const victim = await Up.start(['--demo']);
  const { dataDir } = victim;
  await victim.stop('SIGKILL');
  await expect.poll(() => processesWith(dataDir), { timeout: 15_000 }).toEqual([]);
  await expect.poll(bpfLinks, { timeout: 15_000 }).toEqual(linksBefore);
});

test('--duration ends it by itself; stdout is JSON lines only', async () => {
  const timed = await Up.start(['--demo', '--duration', '3s']);
  expect(await timed.ended()).toBe(0);
  expect(timed.flows.length).toBeGreaterThanOrEqual(5);
  await timed.stop();
});
