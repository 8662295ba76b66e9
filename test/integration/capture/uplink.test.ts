// Capture and a bus that is not there yet, or that refuses: it begins, and says the very problem.
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Uplink } from '../../../services/capture/uplink.ts';
import type { Bus } from '../../../services/runtime/bus.ts';
import { freePort, startNatsServer } from '../../support/nats-server.ts';
import { recordLog, until } from '../runtime/support.ts';

it('does not wait for the bus, says once that it is away and why, and uses it when it comes', async () => {
  const port = await freePort();
  const { log, lines } = recordLog();
  const uplink = await Uplink.open({ server: `nats://127.0.0.1:${port}`, name: 'test', log });
  let reached: Bus | undefined;
  uplink.whenReached((bus) => {
    reached = bus;
  });
  await until('the reason', () => uplink.note?.includes('CONNECTION_REFUSED') === true);
  expect(uplink.connected).toBe(false);
  const server = await startNatsServer({ port });
  await until('the bus', () => reached !== undefined);
  expect(uplink).toMatchObject({ connected: true, note: undefined });
  const said = lines.map(({ msg }) => msg);
  expect(said).toEqual([
    'bus not reachable, retrying',
    'no bus yet: capturing without it, events wait',
    'bus reached',
  ]);
  await uplink.close();
  await server.stop();
});

it('names the refusal of a server that does not know it', async () => {
  const server = await startNatsServer({ more: ['--auth', 'of a test'] });
  const { log, lines } = recordLog();
  const uplink = await Uplink.open({ server: server.url, name: 'test', log });
  await until('the refusal', () => /authorization violation/i.test(uplink.note ?? ''));
  expect(lines.map(({ problem }) => problem).join()).toMatch(/authorization violation/i);
  await uplink.close();
  await server.stop();
});

it('does not begin with a credential that cannot be used', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'flowtag-uplink-'));
  const creds = join(dir, 'broken.creds');
  writeFileSync(creds, 'nothing of the kind', { mode: 0o600 });
  const server = `nats://127.0.0.1:${await freePort()}`;
  await expect(Uplink.open({ server, creds, name: 'test', log: recordLog().log })).rejects.toThrow(creds);
  await rm(dir, { recursive: true });
});

it('ends at once when the bus never came', async () => {
  const server = `nats://127.0.0.1:${await freePort()}`;
  const uplink = await Uplink.open({ server, name: 'test', log: recordLog().log });
  const beganMs = performance.now();
  await uplink.close();
  expect(performance.now() - beganMs).toBeLessThan(1_000);
});
