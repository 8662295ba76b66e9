// `flowtag store`: the embedded engine in a process of its own, because one of its queries can neither be interrupted
// nor kept from occupying the process's threads, and because a crash of it must not be a crash of the sink.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { sharedOptions } from '../../runtime/config.ts';
import { startService } from '../../runtime/lifecycle.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Ops } from '../../runtime/ops.ts';
import { readPassword } from '../password.ts';
import { openEngine } from './engine.ts';
import { createFront } from './front.ts';
import { writeStoreAddress } from './store-address.ts';

const options = z.object({
  ...sharedOptions,
  listen: z
    .string()
    .regex(/^\S+:\d{1,5}$/, 'is not an address and a port, joined by a colon')
    .default('127.0.0.1:0')
    .describe('address and port to answer at; port 0: any that is free'),
  passwordFile: z
    .string()
    .min(1)
    .optional()
    .describe('file with the password that user flowtag has to give (default: a new one at each start)'),
  portFile: z
    .string()
    .optional()
    .describe(
      'where to write the address and the password (default: store/endpoint.json in the data directory)',
    ),
});

export function main(argv: readonly string[]): Promise<number> {
  return startService('store', options, argv, serve);
}

async function serve(
  config: z.infer<typeof options>,
  log: Logger,
  signal: AbortSignal,
  ops: Ops,
): Promise<void> {
  const dir = resolve(config.dataDir, 'store');
  const addressPath = resolve(config.portFile ?? join(dir, 'endpoint.json'));
  const password = readPassword(config.passwordFile) || randomBytes(24).toString('base64url');
  const engine = await openEngine(join(dir, 'data'));
  // The lock of the data directory is held: what an earlier process left here is nobody's.
  const spoolDir = join(dir, 'spool');
  rmSync(spoolDir, { recursive: true, force: true });
  mkdirSync(spoolDir, { mode: 0o700 });
  const front = createFront({ engine, spoolDir, user: 'flowtag', password });
  const [, host, asked] = /^(.*):(\d+)$/.exec(config.listen)!;
  front.listen(Number(asked), host!.replace(/^\[(.*)\]$/, '$1'));
  await once(front, 'listening');
  const { port } = front.address() as AddressInfo;
  const url = `http://${host}:${port}`;
  writeStoreAddress(addressPath, { pid: process.pid, url, user: 'flowtag', password });
  ops.watch(() => ({ state: signal.aborted ? 'stopping' : 'ready', notes: [], counters: {} }));
  log.info({ url, dir, engine: engine.version }, 'store open');
  if (!signal.aborted) await once(signal, 'abort');
  rmSync(addressPath, { force: true });
  front.close();
  front.closeAllConnections();
  engine.close();
}
