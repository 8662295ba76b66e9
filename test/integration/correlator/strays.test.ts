import { afterEach, beforeEach, expect, it } from 'vitest';
import { UPROBE_SCHEMA } from '../../../schemas/events.ts';
import { DEAD_LETTER_STREAM, eventSubject } from '../../../schemas/subjects.ts';
import type { BusMessage, Reader } from '../../../services/runtime/bus.ts';
import { quiet, Rig, until } from './rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.open();
  await rig.provision();
});
afterEach(() => rig.close());

function deadLetters(): { letters: BusMessage[]; reader: Reader } {
  const letters: BusMessage[] = [];
  const onMessage = (message: BusMessage) => letters.push(message);
  const stream = { stream: DEAD_LETTER_STREAM, filter: 'flowtag.dead.>', startSeq: 1 };
  return { letters, reader: rig.bus.reader({ ...stream, onMessage, log: quiet }) };
}

it('sets aside, once, what lies on subjects of the event stream that no partition reads', {
  timeout: 90_000,
}, async () => {
  const publisher = rig.bus.publisher({});
  const publish = (subject: string, data: string): void =>
    publisher.publish({ subject, schema: UPROBE_SCHEMA, data: Buffer.from(data), messageId: data, rows: 0 });
  const { letters } = deadLetters();
  const subjects = ['flowtag.ev.nonsense', 'flowtag.ev.uprobe.99.node-a', 'flowtag.ev.uprobe.1.a.b'];
  for (const subject of subjects) publish(subject, `on ${subject}`);
  publish(eventSubject('uprobe', 'node-a'), 'of a partition');
  const first = rig.correlator();
  await until('four dead letters', () => letters.length >= 4);
  const seen = letters.map(({ data, header }) => [
    header('Flowtag-Dead-Subject'),
    Buffer.from(data).toString(),
    header('Flowtag-Schema'),
  ]);
  expect(seen.sort()).toEqual(
    [
      ...subjects.map((subject) => [subject, `on ${subject}`]),
      [eventSubject('uprobe', 'node-a'), 'of a partition'],
    ]
      .map((row) => [...row, UPROBE_SCHEMA])
      .sort(),
  );
  await first.end('SIGTERM');
  rig.correlator();
  publish('flowtag.ev.nonsense', 'later');
  await until('the later one', () => letters.length >= 5);
  expect(letters.slice(4).map(({ data }) => Buffer.from(data).toString())).toEqual(['later']);
});
