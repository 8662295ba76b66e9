// caddy as Debian ships it (stripped, no rebuild), as a reverse proxy in front of the downstream.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../support/nats-server.ts';
import { type Downstream, type Running, runLoad, startDownstream } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { judged, type Run, stable, stopping } from './run-case.ts';

const UNPACKED = resolve('build/tools/usr/bin/caddy'); // where infra/bootstrap.sh puts it when PATH has none
export const CADDY = existsSync(UNPACKED) ? UNPACKED : '/usr/bin/caddy';
const READY_MS = 20_000;

/** How caddy reaches its upstream: a connection for each request, a pool of HTTP/1.1, or HTTP/2 over TLS. */
export const UPSTREAMS = ['fresh', 'pool', 'h2'] as const;
export type Upstream = (typeof UPSTREAMS)[number];

const TRANSPORT: Readonly<Record<Upstream, string>> = {
  fresh: 'keepalive off',
  pool: 'keepalive 1m\n      keepalive_idle_conns_per_host 4096',
  h2: 'tls_insecure_skip_verify\n      versions 2',
};

/** A load through a new caddy, judged. */
export async function runCaddy(upstream: Upstream, { recorder, ...load }: Omit<Run, 'program'>) {
  const downstream = await startDownstream();
  const server = await startCaddy(downstream, upstream).catch(stopping(downstream));
  try {
    return await judged(recorder, server.pid, async () => {
      await runLoad({ server, path: '/shop', traceparent: true, ...load });
      return stable(async () => truthOf(await downstream.requests()));
    });
  } finally {
    await server.stop();
    await downstream.stop();
  }
}

/** Resolves when it listens. */
export async function startCaddy(downstream: Downstream, upstream: Upstream): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), 'flowtag-caddy-'));
  const listen = `127.0.0.1:${await freePort()}`;
  const file = join(directory, 'Caddyfile');
  const to = upstream === 'h2' ? `https://${downstream.tls}` : downstream.listen;
  // What `cases` says about itself: the path that it was asked for, and the trace.
  writeFileSync(
    file,
    `{
  admin off
  auto_https off
}
http://${listen} {
  reverse_proxy ${to} {
    header_up X-Request-Path {uri}
    header_up X-Traceparent {header.Traceparent}
    transport http {
      ${TRANSPORT[upstream]}
    }
  }
}
`,
  );
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', CADDY, 'run', '--config', file, '--adapter', 'caddyfile'],
    {
      stdio: 'ignore',
      env: { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory, XDG_DATA_HOME: directory },
    },
  );
  const stop = async (): Promise<void> => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(directory, { recursive: true, force: true });
  };
  const deadline = performance.now() + READY_MS;
  while (!(await accepts(listen))) {
    if (child.exitCode === null && performance.now() < deadline) await sleep(50);
    else {
      await stop();
      throw new Error(`${CADDY} does not listen on ${listen}`);
    }
  }
  return { pid: child.pid!, listen, stop };
}

/** `2.6.2` */
export async function caddyVersion(): Promise<string> {
  return (await promisify(execFile)(CADDY, ['version'])).stdout.trim().split(' ', 1)[0]!.replace(/^v/, '');
}

function accepts(listen: string): Promise<boolean> {
  const [address, port] = listen.split(':');
  return new Promise((done) => {
    const socket = connect(Number(port), address!);
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}
