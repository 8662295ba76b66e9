// A malformed message on each subject: set aside or counted, said once, and everything goes on.
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { apiReply } from '../../schemas/api.ts';
import { unpack } from '../../schemas/codec.ts';
import { KPROBE_SCHEMA, UPROBE_SCHEMA } from '../../schemas/events.ts';
import { LEDGER_SCHEMA } from '../../schemas/ledger.ts';
import { FLOW_SCHEMA, REQUEST_SCHEMA } from '../../schemas/rows.ts';
import { STATUS_SCHEMA, type Status } from '../../schemas/status.ts';
import {
  API_VERBS,
  apiSubject,
  eventSubject,
  flowSubject,
  ledgerSubject,
  requestSubject,
  statusSubject,
} from '../../schemas/subjects.ts';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { type Downstream, type Running, startDemo, startDownstream, targetPath } from '../support/targets.ts';
import { Up } from '../support/up.ts';

const GARBAGE = Buffer.from('c1c1c1', 'hex'); // 0xc1 is the one byte that MessagePack never uses
let up: Up;
let bus: Bus;
let downstream: Downstream;
let demo: Running;
const counters = new Map<string, Record<string, number>>();

beforeAll(async () => {
  up = await Up.start(['--target', targetPath('demo')]);
  const { server } = JSON.parse(readFileSync(join(up.dataDir, 'up.json'), 'utf8')) as { server: string };
  bus = await connectBus({ server, name: 'malformed test', log: createLogger('test', 'silent') });
  bus.subscribe('flowtag.status.>', ({ data }) => {
    try {
      const status = unpack(data) as Status;
      counters.set(status.role, status.counters);
    } catch {
      // our own garbage
    }
  });
  downstream = await startDownstream();
  demo = await startDemo(downstream);
});

afterAll(async () => {
  await demo.stop();
  await downstream.stop();
  await bus.close();
  await up.stop();
});

const deadLetters = (role: string) =>
  Object.entries(counters.get(role) ?? {})
    .filter(([name]) => name.startsWith('dead_letters_'))
    .reduce((sum, [, count]) => sum + count, 0);

test('garbage and unknown versions are set aside, and the next request is stored', async () => {
  const before = (await bus.streamState('FLOWTAG_DEAD')).lastSeq;
  const pids = () => Promise.all(['capture', 'correlator', 'sink', 'store'].map((role) => up.pidOf(role)));
  const pidsBefore = await pids();
  for (const [subject, schema] of [
    [eventSubject('uprobe', 'evil'), UPROBE_SCHEMA],
    [eventSubject('kprobe', 'evil'), KPROBE_SCHEMA],
    [eventSubject('kprobe', 'evil'), 'kprobe.v999'],
    [eventSubject('uprobe', 'evil'), ''],
    ['flowtag.ev.nonsense', UPROBE_SCHEMA],
    [flowSubject('evil', 'service'), FLOW_SCHEMA],
    [flowSubject('evil', 'service'), 'flow.v999'],
    [requestSubject('evil', 'service'), REQUEST_SCHEMA],
    [ledgerSubject('evil'), LEDGER_SCHEMA],
    [statusSubject('capture', 'evil'), STATUS_SCHEMA],
  ] as const)
    bus.publish(subject, schema, GARBAGE);

  await new Promise((done) =>
    request(`http://${demo.listen}/echo/alive`, (r) => r.resume().on('end', done)).end(),
  );
  const flows = await up.storedUntil((all) => all.length > 0);
  expect(flows).toMatchObject([{ 'url.path': '/echo/alive' }]);

  const dead = async () => (await bus.streamState('FLOWTAG_DEAD')).lastSeq - before;
  await expect.poll(dead, { timeout: 10_000 }).toBe(9); // all but the heartbeat
  await expect.poll(() => deadLetters('correlator'), { timeout: 10_000 }).toBe(5);
  await expect.poll(() => deadLetters('sink'), { timeout: 10_000 }).toBe(4);
  expect(await pids()).toEqual(pidsBefore); // nothing was started again
});

test.each(API_VERBS)('a malformed question to api.%s is answered with what is wrong', async (verb) => {
  const { data } = await bus.request(apiSubject(verb), 'api.v1', GARBAGE, 5_000);
  expect(apiReply.parse(unpack(data)).error).toMatch(/MessagePack/);
});

test('live subscribers of the command line survive garbage', async () => {
  bus.publish(flowSubject('evil', 'service'), FLOW_SCHEMA, GARBAGE);
  await new Promise((done) =>
    request(`http://${demo.listen}/echo/still-alive`, (r) => r.resume().on('end', done)).end(),
  );
  await expect
    .poll(() => up.flows.map((flow) => flow['url.path']), { timeout: 10_000 })
    .toContain('/echo/still-alive');
});
