// NATS away at the start and later: nothing that was captured is lost or stored twice.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flowAnswers, score } from '../support/accuracy.ts';
import { freePort, type NatsServer, startNatsServer } from '../support/nats-server.ts';
import {
  type Downstream,
  type Running,
  runLoad,
  startDemo,
  startDownstream,
  targetPath,
} from '../support/targets.ts';
import { type FlowJson, flowtag, jsonLines, Up } from '../support/up.ts';

let downstream: Downstream;
let demo: Running;

beforeAll(async () => {
  downstream = await startDownstream();
  demo = await startDemo(downstream);
});

afterAll(async () => {
  await demo.stop();
  await downstream.stop();
});

test('what capture sees before NATS is there is stored once it is', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'flowtag-late-nats-'));
  const [port, opsPort] = [await freePort(), await freePort()];
  const common = ['--server', `nats://127.0.0.1:${port}`, '--data-dir', dir];
  const ops = ['--ops-listen', `127.0.0.1:${opsPort}`];
  const services = [
    start('sink', ...common),
    start('correlator', ...common),
    start('capture', ...common, ...ops, '--target', String(demo.pid)),
  ];
  const capture = services[2]!;
  const ready = (): Promise<Response> => fetch(`http://127.0.0.1:${opsPort}/readyz`);
  let nats: NatsServer | undefined;
  try {
    await expect.poll(() => capture.output(), { timeout: 20_000 }).toContain('executable attached');
    const path = '/work/late-nats';
    await runLoad({ server: demo, path, requests: 300, clients: 20 });
    for (const { child, output } of services) {
      expect(child.exitCode).toBeNull();
      expect(output()).toMatch(/ECONNREFUSED|connect/i);
    }
    const away = await ready();
    expect(away.status).toBe(503);
    expect(await away.text()).toMatch(/the bus was not reached since the start \(CONNECTION_REFUSED\)/);

    nats = await startNatsServer({ port });
    await expect.poll(() => services[1]!.output(), { timeout: 20_000 }).toContain('partition taken over');
    await runLoad({ server: demo, path, requests: 100, clients: 20, first: 300 });
    const truth = (await downstream.requests()).filter(({ requestPath }) =>
      requestPath.startsWith(`${path}/`),
    );
    const stored = async (): Promise<FlowJson[]> =>
      jsonLines((await flowtag('observe', '--last', '10000', '-o', 'json', ...common)).stdout);
    await expect
      .poll(async () => (await stored()).length, { timeout: 30_000, interval: 500 })
      .toBeGreaterThanOrEqual(truth.length);
    expect(score(truth, flowAnswers(await stored()))).toEqual({
      right: 400,
      wrong: 0,
      missing: 0,
      surplus: 0,
      of: 400,
    });
    await expect.poll(async () => (await ready()).status, { timeout: 20_000 }).toBe(200);
    expect(capture.output().match(/no bus yet/g)).toHaveLength(1);
    expect(capture.output().match(/bus reached/g)).toHaveLength(1);
  } finally {
    for (const { child } of services) child.kill('SIGTERM');
    await Promise.all(services.map(({ child }) => child.exitCode ?? once(child, 'exit')));
    await nats?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});

test('NATS killed -9 under load: its restart loses and repeats nothing', async () => {
  const up = await Up.start(['--target', targetPath('demo')]);
  try {
    const path = '/work/nats';
    const load = runLoad({ server: demo, path, requests: 1500, clients: 50 });
    await sleep(200);
    process.kill(await up.pidOf('nats-server'), 'SIGKILL');
    await load;
    await runLoad({ server: demo, path, requests: 200, clients: 20, first: 1500 });
    const truth = (await downstream.requests()).filter(({ requestPath }) =>
      requestPath.startsWith(`${path}/`),
    );
    const flows = await up.storedUntil((all) => all.length >= truth.length);
    expect(score(truth, flowAnswers(flows))).toEqual({
      right: 1700,
      wrong: 0,
      missing: 0,
      surplus: 0,
      of: 1700,
    });
  } finally {
    await up.stop();
  }
});

function start(...args: string[]): { child: ChildProcess; output: () => string } {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, 'bin/flowtag.js', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr!.on('data', (chunk) => {
    text += chunk;
  });
  return { child, output: () => text };
}
