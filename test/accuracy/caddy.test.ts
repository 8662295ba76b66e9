// A stripped Go server as Debian ships it, without any rebuild: caddy as a reverse proxy.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flowAnswers, score } from '../support/accuracy.ts';
import { freePort } from '../support/nats-server.ts';
import { type Downstream, type Running, runLoad, startDownstream } from '../support/targets.ts';
import { Up } from '../support/up.ts';

const REQUESTS = 600;
const CLIENTS = 100;
const UNPACKED = resolve('build/tools/usr/bin/caddy'); // where infra/bootstrap.sh puts it when PATH has none
const CADDY = existsSync(UNPACKED) ? UNPACKED : '/usr/bin/caddy';
let up: Up;
let downstream: Downstream | undefined;
let caddy: Running | undefined;

beforeAll(async () => {
  up = await Up.start(['--target', CADDY]);
  downstream = await startDownstream();
  caddy = await startCaddy(downstream.listen);
});

afterAll(async () => {
  await caddy?.stop();
  await downstream?.stop();
  await up.stop();
});

test('every connection to the upstream is stored once, with the path that caddy was asked for', async () => {
  await runLoad({ server: caddy!, path: '/shop', requests: REQUESTS, clients: CLIENTS });
  const truth = (await downstream!.requests()).map((request) => ({ ...request, requestPath: request.path }));
  expect(truth).toHaveLength(REQUESTS);
  const flows = await up.storedUntil((all) => all.length >= REQUESTS);
  expect(score(truth, flowAnswers(flows))).toEqual({
    right: REQUESTS,
    wrong: 0,
    missing: 0,
    surplus: 0,
    of: REQUESTS,
  });
  for (const flow of flows)
    expect(flow).toMatchObject({ 'process.executable.name': 'caddy', 'process.pid': caddy!.pid });
});

/** It listens only some time after it has started: `up` must find a process that starts later. */
async function startCaddy(upstream: string): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), 'flowtag-caddy-'));
  const listen = `127.0.0.1:${await freePort()}`;
  const file = join(directory, 'Caddyfile');
  writeFileSync(
    file,
    `{\n  admin off\n  auto_https off\n}\nhttp://${listen} {\n  reverse_proxy ${upstream} {\n    transport http {\n      keepalive off\n    }\n  }\n}\n`,
  );
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', CADDY, 'run', '--config', file, '--adapter', 'caddyfile'],
    {
      stdio: 'ignore',
      env: { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory, XDG_DATA_HOME: directory },
    },
  );
  while (!(await accepts(listen))) await sleep(50); // the hook's time-out bounds it
  return {
    pid: child.pid!,
    listen,
    stop: async () => {
      child.kill();
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function accepts(listen: string): Promise<boolean> {
  const [address, port] = listen.split(':');
  return new Promise((done) => {
    const socket = connect(Number(port), address!);
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}
