// infra/nats/leaf-node as it stands: a site's server keeps what is published while the hub is away, and the hub gets
// it once and in order. Truth: what the site's publisher was told is stored.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findNatsServer } from '../../../services/cli/installation.ts';
import { type Bus, connectBus } from '../../../services/runtime/bus.ts';
import { endChild } from '../../support/end-child.ts';
import { type Link, openLink } from '../../support/link.ts';
import { freePort } from '../../support/nats-server.ts';
import { event, quiet, readAll, until, upTo } from '../runtime/support.ts';

const TOTAL = 1_500;

let dir: string;
let link: Link;
let hubPort: number;
let sitePort: number;
let leafPort: number;
let hub: Bus;
let site: Bus;
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'flowtag-leaf-'));
  [hubPort, sitePort, leafPort] = [await freePort(), await freePort(), await freePort()];
  await start('hub', hubPort, { 'listen: 0.0.0.0:7422': `listen: 127.0.0.1:${leafPort}` });
  hub = await connectBus({ server: `nats://127.0.0.1:${hubPort}`, name: 'hub', log: quiet });
  link = await openLink(leafPort);
  await start('site', sitePort, {});
  site = await connectBus({ server: `nats://127.0.0.1:${sitePort}`, name: 'site', log: quiet });
  await provision(sitePort, '--as-site');
  await provision(hubPort);
  await provision(hubPort, '--site', 'site-a');
});

afterEach(async () => {
  await Promise.all([hub.close(), site.close()]);
  await Promise.all(children.splice(0).map((child) => endChild(child, 10_000)));
  link.close();
  await rm(dir, { recursive: true, force: true });
});

it('the hub gets what a site published while it was cut off, once and in order', {
  timeout: 90_000,
}, async () => {
  await provision(hubPort, '--site', 'site-a'); // idempotent
  const publisher = site.publisher({});
  const publish = async (numbers: readonly number[]): Promise<void> => {
    for (const n of numbers) {
      publisher.publish(event(n));
      if (n % 10 === 9) await sleep(10);
    }
    expect(await publisher.flush(10_000)).toBe(true);
  };
  const stored = async (): Promise<number> => (await hub.streamState('FLOWTAG_EV')).lastSeq;

  await publish(upTo(TOTAL / 3));
  await expect.poll(stored, { timeout: 20_000 }).toBe(TOTAL / 3);
  link.set('cut');
  await publish(upTo((2 * TOTAL) / 3).slice(TOTAL / 3));
  expect(await stored()).toBe(TOTAL / 3);
  link.set('up');
  await publish(upTo(TOTAL).slice((2 * TOTAL) / 3));
  await expect.poll(stored, { timeout: 60_000 }).toBe(TOTAL);
  expect(await readAll(hub)).toEqual(upTo(TOTAL));
  expect((await site.streamState('FLOWTAG_EV')).lastSeq).toBe(TOTAL);
});

/** As infra/nats/leaf-node/README.md has it. */
async function provision(port: number, ...more: readonly string[]): Promise<void> {
  const args = ['bin/flowtag.js', 'provision', '--server', `nats://127.0.0.1:${port}`, ...more];
  await promisify(execFile)(process.execPath, args);
}

/** With the file's ports and addresses replaced by the test's own. */
async function start(name: 'hub' | 'site', port: number, replace: Readonly<Record<string, string>>) {
  const original = await readFile(`infra/nats/leaf-node/${name}.conf`, 'utf8');
  const replacements = { ...replace, 'listen: 0.0.0.0:4222': `listen: 127.0.0.1:${port}` };
  const text = Object.entries(replacements).reduce((conf, [from, to]) => {
    expect(conf).toContain(from);
    return conf.replace(from, to);
  }, original);
  const file = join(dir, `${name}.conf`);
  await writeFile(file, text);
  const env = { FLOWTAG_NATS_DATA: join(dir, name), FLOWTAG_HUB: `nats-leaf://127.0.0.1:${link?.port}` };
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', findNatsServer(), '-c', file], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    said = (said + chunk).slice(-8_000);
  });
  await until(`${name} is ready`, () => said.includes('Server is ready'));
}
