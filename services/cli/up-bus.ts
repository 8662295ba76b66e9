// The NATS server of `up`: loopback only, a free port, streams in the data directory.

import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bus } from '../runtime/bus.ts';
import { FlowtagError } from '../runtime/errors.ts';
import { openBus } from './bus-session.ts';
import type { ChildSpec } from './supervised-child.ts';

const START_TIMEOUT_MS = 15_000;
const POLL_MS = 50;

export async function natsServerSpec(
  file: string,
  dataDir: string,
): Promise<{ spec: ChildSpec; server: string }> {
  // Chosen here and not by the server: the services know one address, also after the server was started again.
  const port = await freePort();
  const args = ['-a', '127.0.0.1', '-p', `${port}`, '-js', '-sd', join(dataDir, 'nats')];
  return {
    spec: { name: 'nats', command: { file, args }, restart: true },
    server: `nats://127.0.0.1:${port}`,
  };
}

/** Waits until the server that was just started answers. */
export async function reachBus(server: string, end: AbortSignal): Promise<Bus> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    end.throwIfAborted();
    try {
      return await openBus({ server, origin: 'started just now' }, {});
    } catch (error) {
      if (!(error instanceof FlowtagError) || performance.now() > deadlineMs) throw error;
      await sleep(POLL_MS);
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
