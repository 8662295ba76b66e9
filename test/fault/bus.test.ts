// NATS away at the start and later: everything waits, nothing that was captured is lost or stored twice.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
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

function get(path: string): Promise<unknown> {
  return new Promise((done) =>
    request(`http://${demo.listen}${path}`, (r) => r.resume().on('end', done)).end(),
  );
}

test('services that start before NATS wait for it, and then work', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'flowtag-late-nats-'));
  const port = await freePort();
  const common = ['--server', `nats://127.0.0.1:${port}`, '--data-dir', dir];
  const services = [
    start('sink', ...common),
    start('correlator', ...common),
    start('capture', ...common, '--target', String(demo.pid)),
  ];
  let nats: NatsServer | undefined;
  try {
    await sleep(3_000);
    for (const { child, output } of services) {
      expect(child.exitCode).toBeNull();
      expect(output()).toMatch(/ECONNREFUSED|connect/i);
    }
    nats = await startNatsServer({ port });
    await expect.poll(() => services[2]!.output(), { timeout: 20_000 }).toContain('executable attached');
    await expect.poll(() => services[1]!.output(), { timeout: 20_000 }).toContain('partition taken over');
    await get('/echo/after-the-wait');
    const stored = async (): Promise<FlowJson[]> =>
      jsonLines((await flowtag('observe', '-o', 'json', ...common)).stdout);
    await expect
      .poll(stored, { timeout: 30_000, interval: 500 })
      .toMatchObject([{ 'url.path': '/echo/after-the-wait' }]);
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
