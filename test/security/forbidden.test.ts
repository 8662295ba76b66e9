// Nobody does what is not theirs. The table in docs/forbidden-actions.md is what this run saw: `vitest -u` writes it.
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BUCKETS } from '../../schemas/permissions.ts';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { createKey } from '../../services/runtime/bus-access.ts';
import { provisionStreams } from '../../services/runtime/bus-streams.ts';
import { formatCredential } from '../../services/runtime/credential.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { quiet } from '../support/quiet.ts';
import { makeTls, SecureNats } from '../support/secure-nats.ts';
import { LIMITS } from './fleet.ts';
import { ACTIONS, Intruder } from './forbidden-actions.ts';

const IDENTITIES = [
  ['admin', 'ops'],
  ['capture', 'host-a'],
  ['capture', 'host-b'],
  ['correlator', 'join-1'],
  ['sink', 'store-1'],
  ['viewer', 'alice'],
] as const;
const SEEN = [
  '# Forbidden actions',
  '',
  'Each was tried with the real credential, over TLS, against a real nats-server as infra/nats sets it up. Written by',
  '`npx vitest run test/security/forbidden.test.ts -u`, which fails when a run sees anything else.',
  '',
];

let server: SecureNats;
let admin: Bus;
const rows: string[] = [];
const row = (who: string, what: string, subject: string, answer: string) =>
  rows.push(`| ${who} | ${what} | ${subject === '' ? '' : `\`${subject}\``} | ${answer} |`);

beforeAll(async () => {
  server = await SecureNats.start(IDENTITIES);
  const access = { creds: server.creds('admin', 'ops'), tlsCa: server.tlsCa };
  admin = await connectBus({ server: server.url, ...access, name: 'admin', log: quiet });
  await provisionStreams(admin, LIMITS);
  for (const bucket of BUCKETS) await admin.positions(bucket);
});

afterAll(async () => {
  await admin?.close();
  await server?.stop();
});

/** Everything that the streams hold: what was refused has not changed it. */
async function contents(): Promise<readonly unknown[]> {
  const streams = ['FLOWTAG_EV', 'FLOWTAG_FLOW', 'FLOWTAG_DEAD', ...BUCKETS.map((name) => `KV_${name}`)];
  return Promise.all(streams.map((stream) => admin.streamState(stream)));
}

test('what is not theirs is refused, and changes nothing', async () => {
  const before = await contents();
  const intruders = new Map<string, Intruder>();
  for (const { who, what, kind, subject, queue } of ACTIONS) {
    const [role, name] = who;
    const intruder = intruders.get(role) ?? (await Intruder.as(server, role, name));
    intruders.set(role, intruder);
    const answer =
      kind === 'publish' ? await intruder.publish(subject) : await intruder.subscribe(subject, queue);
    row(role, what, queue === undefined ? subject : `${subject} ${queue}`, answer || 'ALLOWED');
    expect(answer, `${role}: ${what}`).toBe(kind === 'publish' ? 'publish refused' : 'subscription refused');
  }
  for (const intruder of intruders.values()) await intruder.close();
  expect(await contents()).toEqual(before);
});

test('a reply subject reaches nothing beyond the own account', async () => {
  const host = await Intruder.as(server, 'capture', 'host-a');
  const own = 'flowtag.ev.uprobe.3.host-a';
  await host.publish(own, 'an event of its own');
  const count = async () => (await admin.streamState('FLOWTAG_EV')).lastSeq;
  for (const [what, reply] of [
    ['purge the stream by the reply to an own event', '$JS.API.STREAM.PURGE.FLOWTAG_EV'],
    ['delete a message by the reply to an own event', '$JS.API.STREAM.MSG.DELETE.FLOWTAG_EV'],
    ["forge another host's event by the reply to an own one", 'flowtag.ev.uprobe.3.host-b'],
    ['overwrite a checkpoint by the reply to an own event', '$KV.FLOWTAG_CHECKPOINT.p.0'],
    ['forge a flow by the reply to an own event', 'flowtag.flow.host-b.shop'],
  ] as const) {
    const [, flows, , checkpoint] = (await contents()) as { firstSeq: number; lastSeq: number }[];
    const lastSeq = await count();
    expect(await host.publish(own, what, reply)).toBe('');
    await sleep(100); // the acknowledgement would be there by then
    const after = (await contents()) as { firstSeq: number; lastSeq: number }[];
    expect(after[0], what).toMatchObject({ firstSeq: 1, lastSeq: lastSeq + 1 });
    expect([after[1], after[3]], what).toEqual([flows, checkpoint]);
    row('capture', what, reply, 'no effect');
  }
  await host.close();
});

test('where a reply subject means something nobody purges by it: the streams refuse', async () => {
  const correlator = await Intruder.as(server, 'correlator', 'join-1');
  const flows = async () => (await contents())[1];
  const purge = '$JS.API.STREAM.PURGE.FLOWTAG_FLOW';
  for (let seq = 1; seq <= 3; seq++) {
    expect(await correlator.publish('flowtag.flow.host-a.shop', 'a flow', purge)).toBe('');
    await sleep(100); // the acknowledgement, which is a request to purge up to that flow, would be there by then
    expect(await flows()).toMatchObject({ firstSeq: 1, lastSeq: seq });
  }
  row('correlator', 'purge the stream of flows by the reply to an own flow', purge, 'no effect');
  await correlator.close();
});

test('only who holds an enrolled key gets in, and only to the right server', async () => {
  const tlsCa = server.tlsCa;
  const stranger = join(server.dir, 'stranger.creds');
  writeFileSync(stranger, formatCredential({ role: 'capture', name: 'host-a', seed: createKey().seed }), {
    mode: 0o600,
  });
  makeTls(join(server.dir, 'other'));
  const other = join(server.dir, 'other/ca.pem');
  const plain = await startNatsServer();
  const creds = server.creds('viewer', 'alice');
  const nats = server.url.replace('tls:', 'nats:');
  try {
    for (const [who, what, url, access, problem] of [
      ['anybody', 'connect without a key', server.url, { tlsCa }, /authorization violation/i],
      [
        'anybody',
        'connect with a key of their own',
        server.url,
        { creds: stranger, tlsCa },
        /authorization violation/i,
      ],
      [
        'anybody',
        'connect with nats:// and a password',
        nats.replace('//', '//a:b@'),
        { tlsCa },
        /authorization violation/i,
      ],
      [
        'server',
        'pass with a certificate of another authority',
        server.url,
        { creds, tlsCa: other },
        /certificate|signature/i,
      ],
      ['server', 'pass with a certificate that nobody vouches for', server.url, { creds }, /certificate/i],
      [
        'server',
        'be spoken to without TLS (--tls-ca)',
        plain.url,
        { creds, tlsCa },
        /tls|ServerOption|SERVER_OPTION/i,
      ],
      [
        'server',
        'be spoken to without TLS (tls://)',
        plain.url.replace('nats:', 'tls:'),
        { creds },
        /tls|SERVER_OPTION/i,
      ],
    ] as const) {
      await expect(Intruder.connect(url, access), what).rejects.toThrow(problem);
      row(who, what, '', 'connection refused');
    }
  } finally {
    await plain.stop();
  }
});

test('a client that speaks no TLS is not answered', async () => {
  const { connect } = await import('node:net');
  const socket = connect(server.port, '127.0.0.1');
  const heard: string[] = [];
  socket.on('data', (chunk) => heard.push(String(chunk)));
  socket.write('CONNECT {"verbose":false}\r\nPING\r\n');
  await new Promise((done) => socket.once('close', done).on('error', () => undefined));
  expect(heard.join('')).toMatch(/^INFO /);
  expect(heard.join('')).not.toContain('PONG');
  row('anybody', 'speak without TLS', '', 'connection refused');
});

test('a key that was rotated or revoked is out at once, its successor in', async () => {
  const file = server.creds('capture', 'host-b');
  const old = join(server.dir, 'old.creds');
  copyFileSync(file, old);
  chmodSync(old, 0o600);
  const bus = await connectBus({
    server: server.url,
    creds: file,
    tlsCa: server.tlsCa,
    name: 'host-b',
    log: quiet,
  });
  const publisher = bus.publisher({});
  const publish = (messageId: string) =>
    publisher.publish({
      subject: 'flowtag.ev.uprobe.3.host-b',
      schema: '',
      data: Buffer.from('x'),
      messageId,
      rows: 1,
    });
  try {
    publish('before');
    expect(await publisher.flush(5_000)).toBe(true);
    await server.enroll('--rotate', 'host-b');
    await server.reload();
    publish('after');
    expect(await publisher.flush(20_000), 'the daemon goes on with the new key').toBe(true);
    await expect(Intruder.connect(server.url, { creds: old, tlsCa: server.tlsCa })).rejects.toThrow(
      /authorization violation/i,
    );
    row('capture', 'connect with the key before the rotation', '', 'connection refused');
    await server.enroll('--revoke', 'host-b');
    await server.reload();
    publish('revoked');
    expect(await publisher.flush(3_000), 'a revoked daemon is put out').toBe(false);
    await expect(Intruder.connect(server.url, { creds: file, tlsCa: server.tlsCa })).rejects.toThrow(
      /authorization violation/i,
    );
    row('capture', 'connect or go on with a revoked key', '', 'connection refused');
  } finally {
    await bus.close();
  }
});

test('the table in the docs is what was seen', async () => {
  const table = ['| who | tries to | subject | answer |', '|---|---|---|---|', ...rows, ''];
  await expect([...SEEN, ...table].join('\n')).toMatchFileSnapshot('../../docs/forbidden-actions.md');
});
