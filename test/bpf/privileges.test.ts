// The least that capture can do with, as an ordinary user: it works with these capabilities, and each one is needed.
// Truth: the downstream's log, and what the kernel refuses.
import { type ChildProcess, spawn } from 'node:child_process';
import { request } from 'node:http';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Capability, neededFor } from '../../services/capture/capabilities.ts';
import { endChild } from '../support/end-child.ts';
import { type NatsServer, startNatsServer } from '../support/nats-server.ts';
import { type Cases, type Downstream, startCases, startDownstream } from '../support/targets.ts';

const NOBODY = 65534;
const NEEDED = neededFor({ backend: 'tracepoint', uprobes: 'multi' });
const FLOWTAG = [process.execPath, resolve('bin/flowtag.js')];

let nats: NatsServer;
let downstream: Downstream;
let cases: Cases;
let child: ChildProcess;

beforeEach(async () => {
  nats = await startNatsServer();
  downstream = await startDownstream();
  cases = await startCases(downstream);
});

afterEach(async () => {
  await endChild(child, 15_000);
  await cases.stop();
  await downstream.stop();
  await nats.stop();
});

describe('capture as an ordinary user', () => {
  test(`works with ${NEEDED.join(', ')}`, async () => {
    const said = start(NEEDED);
    await expect.poll(said, { timeout: 20_000 }).toContain('executable attached');
    await get('/fresh/one');
    expect(await downstream.requests()).toHaveLength(1);
    // Its heartbeat is in the log only when something is wrong; the events are on the bus.
    expect(said()).not.toMatch(/cannot be probed|not permitted/);
  });

  test.each(NEEDED)('needs %s', async (left) => {
    const said = start(NEEDED.filter((each) => each !== left));
    await expect.poll(said, { timeout: 20_000 }).toMatch(/not permitted|cannot be probed|may not be read/);
    expect(said()).not.toContain('executable attached');
  });
});

/** Returns what it has said so far. */
function start(capabilities: readonly Capability[]): () => string {
  const list = capabilities.map((name) => `+${name.toLowerCase()}`).join(',');
  const user = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'];
  const rights = ['--inh-caps', list, '--ambient-caps', list, '--bounding-set', `-all,${list}`];
  const command = [...FLOWTAG, 'capture', '--server', nats.url, '--host', 'h', '--target', `${cases.pid}`];
  command.push('--spool-mib', '0'); // nobody may not write here
  child = spawn('setpriv', [...user, ...rights, '--pdeathsig', 'KILL', ...command]);
  let text = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => {
      text += chunk;
    });
  return () => text;
}

function get(path: string): Promise<void> {
  return new Promise((done, failed) => {
    const call = request(`http://${cases.listen}${path}`, { agent: false }, (response) =>
      response.resume().on('end', done),
    );
    call.on('error', failed).end();
  });
}
