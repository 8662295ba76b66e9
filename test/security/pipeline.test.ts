// The whole way of an event, each step with the credential of its role: the permissions are enough.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SOCKET_CONNECT, VIA } from '../../schemas/events.ts';
import { BUS_ROLES, type BusRole } from '../../schemas/permissions.ts';
import { eventSubject } from '../../schemas/subjects.ts';
import { type Bus, connectBus, type Publisher } from '../../services/runtime/bus.ts';
import { readCredential } from '../../services/runtime/credential-file.ts';
import { eventually, runCommand, startCommand } from '../integration/cli/command-line.ts';
import { endChild } from '../support/end-child.ts';
import { quiet } from '../support/quiet.ts';
import { SecureNats } from '../support/secure-nats.ts';
import { batchBytes, start } from '../unit/correlator/batches.ts';
import { NAMES } from './fleet.ts';

const PATIENCE_MS = 60_000; // the embedded store takes long to start on a busy machine

let server: SecureNats;
let capture: Bus;
let publisher: Publisher;
let seq = 0;
const services: { child: ChildProcess; log: () => string }[] = [];

const access = (role: BusRole) => ({ creds: server.creds(role, NAMES[role]), tlsCa: server.tlsCa });
const flags = (role: BusRole) => [
  `--server=${server.url}`,
  `--creds=${access(role).creds}`,
  `--tls-ca=${server.tlsCa}`,
  `--data-dir=${join(server.dir, 'data')}`,
];

function service(verb: string, role: BusRole): { child: ChildProcess; log: () => string } {
  const entry = join(import.meta.dirname, 'flowtag.ts');
  const command = ['--pdeathsig', 'KILL', '--', process.execPath, '--import', 'tsx', entry, verb];
  const child = spawn('setpriv', [...command, ...flags(role)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (chunk) => {
    output = (output + chunk).slice(-50_000);
  });
  const one = { child, log: () => output };
  services.push(one);
  return one;
}

/** A request and the connection that it caused, as the daemon of host-a publishes them. */
function publishRequest(path: string, payloadHost = 'host-a'): void {
  const timeNs = BigInt(Date.now()) * 1_000_000n;
  const id = seq + 1;
  const ends = { localAddress: '10.0.0.7', localPort: 40_000 + id, peerAddress: '10.0.0.9', peerPort: 80 };
  const connected = {
    type: SOCKET_CONNECT,
    eventId: id,
    requestId: id,
    goid: id,
    via: VIA.lineage,
    depth: 1,
    timeNs,
    family: 4,
    ...ends,
  };
  for (const [kind, rows] of [
    ['uprobe', [start(id, timeNs, { path })]],
    ['kprobe', [connected]],
  ] as const)
    publisher.publish({
      subject: eventSubject(kind, 'host-a'),
      schema: `${kind}.v1`,
      data: batchBytes({ kind, host: payloadHost, seq: ++seq, uptoNs: timeNs }, rows),
      messageId: `${seq}`,
      rows: 1,
    });
}

beforeAll(async () => {
  server = await SecureNats.start(BUS_ROLES.map((role) => [role, NAMES[role]] as const));
  const correlator = service('correlator', 'correlator');
  await eventually(
    'the correlator says what is missing',
    () => /flowtag provision/.test(correlator.log()),
    PATIENCE_MS,
  );
  const provision = service('provision', 'admin');
  const [code] = await once(provision.child, 'exit');
  expect(code, provision.log()).toBe(0);
  const sink = service('sink', 'sink');
  await eventually('the sink reads', () => sink.log().includes('reading the stream'), PATIENCE_MS).catch(
    (error) => {
      throw new Error(sink.log(), { cause: error });
    },
  );
  await eventually(
    'the correlator reads',
    () => correlator.log().includes('partition taken over'),
    PATIENCE_MS,
  );
  capture = await connectBus({ server: server.url, ...access('capture'), name: 'capture', log: quiet });
  publisher = capture.publisher({});
}, 300_000);

afterAll(async () => {
  await capture?.close();
  for (const { child } of services) await endChild(child, 10_000);
  await server?.stop();
});

test('events become flows that are seen live, stored, and found', async () => {
  const live = startCommand('observe', '-f', '--last', '1', '-o', 'json', ...flags('viewer'));
  await eventually(
    'a flow is seen live',
    () => {
      publishRequest(`/orders/${seq}`);
      return live.stdout.includes('/orders/');
    },
    PATIENCE_MS,
  );
  live.interrupt();
  expect(await live.code).toBe(0);
  expect(await publisher.flush(10_000)).toBe(true);
  let found = await runCommand('lookup', '10.0.0.7:40001', '-o', 'json', ...flags('viewer'));
  for (
    const endMs = performance.now() + PATIENCE_MS;
    found.code !== 0 && performance.now() < endMs;
    await sleep(500)
  )
    found = await runCommand('lookup', '10.0.0.7:40001', '-o', 'json', ...flags('viewer'));
  expect(found, found.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(found.stdout.split('\n')[0]!)).toMatchObject({
    'host.name': 'host-a',
    'url.path': '/orders/0',
  });
}, 180_000);

test('what a host says of another host in its own name is set aside and counted', async () => {
  publishRequest('/forged', 'host-b');
  const { log } = services[0]!;
  await eventually('it is set aside', () => log().includes('host_mismatch'), PATIENCE_MS);
  const all = await runCommand('observe', '--last', '1000', '-o', 'json', ...flags('viewer'));
  expect(all.stdout).not.toContain('/forged');
  expect(all.stdout).not.toContain('host-b');
});

test('a verb without a credential says what to do', async () => {
  const none = await runCommand(
    'lookup',
    '10.0.0.7:40001',
    `--server=${server.url}`,
    `--tls-ca=${server.tlsCa}`,
  );
  expect(none).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/Authorization Violation[\s\S]*--creds FILE/i),
  });
});

test('no seed is on a command line, in an environment, in a log, or on the wire', async () => {
  const seeds = BUS_ROLES.map((role) => readCredential(access(role).creds).seed);
  const running = services.filter(({ child }) => child.exitCode === null);
  const texts = [
    server.log,
    ...services.map(({ log }) => log()),
    ...running.flatMap(({ child }) =>
      ['cmdline', 'environ'].map((of) => readFileSync(`/proc/${child.pid}/${of}`, 'utf8')),
    ),
    ...readdirSync(server.dir)
      .filter((name) => /\.(json|conf)$/.test(name))
      .map((name) => readFileSync(join(server.dir, name), 'utf8')),
  ];
  expect(running.length).toBe(2);
  for (const seed of seeds) expect(texts.filter((text) => text.includes(seed))).toEqual([]);
});
