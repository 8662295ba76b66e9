// A real nats-server with JetStream on loopback, in a directory of its own, which dies with the test process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findNatsServer } from '../../services/cli/installation.ts';

export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** As a crash: no orderly stop. The store stays for restart(). */
  kill9(): Promise<void>;
  /** Orderly stop, and removes the store unless the caller gave the directory. */
  stop(): Promise<void>;
  /** Starts again on the same port and store, after kill9(). */
  restart(): Promise<void>;
}

const READY_DEADLINE_MS = 10_000;

/** `more`: further arguments of nats-server. */
export async function startNatsServer(
  options: { dir?: string; port?: number; more?: readonly string[] } = {},
): Promise<NatsServer> {
  const { more = [] } = options;
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'flowtag-nats-')));
  const port = options.port ?? (await freePort());
  let child = await launch(dir, port, more);
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    get pid() {
      return child.pid!;
    },
    kill9: () => end(child, 'SIGKILL'),
    async stop() {
      await end(child, 'SIGTERM');
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    },
    async restart() {
      await end(child, 'SIGKILL');
      child = await launch(dir, port, more);
    },
  };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function launch(dir: string, port: number, more: readonly string[]): Promise<ChildProcess> {
  const command = [findNatsServer(), '-a', '127.0.0.1', '-p', String(port), '-js', '-sd', dir, ...more];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    output = (output + chunk).slice(-4_000);
  });
  const deadline = performance.now() + READY_DEADLINE_MS;
  while (!output.includes('Server is ready')) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`nats-server on port ${port} did not start:\n${output}`);
    }
    await sleep(20);
  }
  await answers(port);
  return child;
}

async function answers(port: number): Promise<void> {
  const socket = connectTcp(port, '127.0.0.1');
  await once(socket, 'data');
  socket.destroy();
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
