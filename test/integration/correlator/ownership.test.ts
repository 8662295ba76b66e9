import { afterEach, beforeEach, expect, it } from 'vitest';
import { pack, unpack } from '../../../schemas/codec.ts';
import { type Status, status } from '../../../schemas/status.ts';
import { partitionOf, STATUS_SUBJECTS } from '../../../schemas/subjects.ts';
import { Fleet } from './fleet.ts';
import { Output, Rig, until } from './rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.open();
});
afterEach(() => rig.close());

async function publish(fleet: Fleet, from: number, to: number): Promise<void> {
  const publisher = rig.bus.publisher({});
  for (let tick = from; tick < to; tick++)
    for (const message of fleet.drain(tick)) publisher.publish(message);
  expect(await publisher.flush(20_000)).toBe(true);
  publisher.close();
}

it('makes the streams, then says what it does', async () => {
  const reports: Status[] = [];
  rig.bus.subscribe(STATUS_SUBJECTS, ({ data }) => reports.push(status.parse(unpack(data))));
  const running = rig.correlator();
  await until('take-over', () => running.log().includes('taken over'));
  const fleet = new Fleet();
  await publish(fleet, 0, 20);
  await until(
    'readiness',
    () => reports.at(-1)?.state === 'ready' && reports.at(-1)!.counters.flows_out! >= fleet.flows.size,
  );
  expect(reports[0]).toMatchObject({ role: 'correlator', host: 'rig', state: 'starting', counters: {} });
  expect(reports.at(-1)!.counters).toMatchObject({
    batches_in: 120,
    flows_out: fleet.flows.size,
    requests_out: fleet.requests.size,
    unattributed_no_request: 60,
    unattributed_lost_event: 6,
    dead_letters_malformed: 0,
    lost_batches: 0,
    fallen_off: 0,
    closes: 60,
  });
});

it('ends when a stream is not as configured', async () => {
  await rig.provision();
  const running = rig.correlator('--event-mib', '3');
  expect(await running.exit()).toBe(1);
  expect(running.log()).toContain('"code":"STREAM_MISMATCH"');
  expect(await rig.correlator('--event-mib', 'many').exit()).toBe(2);
});

it('ends when the event stream is replaced, and begins at the first message of the new one', async () => {
  await rig.provision();
  const first = rig.correlator();
  const output = new Output(rig.bus);
  const before = new Fleet();
  await publish(before, 0, 30);
  await until('flows', () => output.flows.size >= before.flows.size);
  await rig.api('STREAM.DELETE.FLOWTAG_EV');
  await rig.api('STREAM.DELETE.FLOWTAG_FLOW');
  await output.reader.close();
  await rig.provision();
  expect(await first.exit()).toBe(1);
  expect(first.log()).toContain('"code":"STREAM_REPLACED"');
  const anew = new Fleet();
  const outputAnew = new Output(rig.bus);
  await publish(anew, 0, 10);
  const second = rig.correlator();
  await until('flows', () => outputAnew.flows.size >= anew.flows.size);
  expect(second.log()).toContain('stream was created anew');
});

it('begins at the first message when the checkpoint cannot be read, and says so', async () => {
  await rig.provision();
  const fleet = new Fleet();
  await publish(fleet, 0, 10);
  const positions = await rig.bus.positions('FLOWTAG_CHECKPOINT');
  await positions.set(`p.${partitionOf('node-a')}`, pack({ v: 99 }), 0);
  const running = rig.correlator();
  const output = new Output(rig.bus);
  await until('all flows', () => output.flows.size >= fleet.flows.size);
  expect(running.log()).toContain('checkpoint cannot be read');
  expect(await running.end('SIGTERM')).toBe(0);
});
