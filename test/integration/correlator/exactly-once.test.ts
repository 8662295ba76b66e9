import { afterEach, beforeEach, expect, it } from 'vitest';
import { DEAD_LETTER_STREAM, eventSubject } from '../../../schemas/subjects.ts';
import type { BusMessage, Outbound, Publisher } from '../../../services/runtime/bus.ts';
import { batchBytes } from '../../unit/correlator/batches.ts';
import { Fleet } from './fleet.ts';
import { expectTruth, publish } from './load.ts';
import { Output, quiet, Rig, until } from './rig.ts';

let rig: Rig;
let publisher: Publisher;
beforeEach(async () => {
  rig = await Rig.open();
  await rig.provision();
  publisher = rig.bus.publisher({});
});
afterEach(() => rig.close());

it('gives each request and connection exactly one flow, and the right one, through three kills', {
  timeout: 120_000,
}, async () => {
  const fleet = new Fleet();
  const output = new Output(rig.bus);
  let running = rig.correlator();
  const ticks = 520;
  const killAt = [140, 280, 420]; // so far apart that open requests began before what is read again
  await publish(publisher, fleet, ticks, async (tick) => {
    if (tick === 0) await until('the first one to take over', () => running.log().includes('taken over'));
    if (tick === 150) for (const message of wrongMessages()) publisher.publish(message);
    if (!killAt.includes(tick)) return;
    // In the middle of its work: it has published, and not yet said so.
    const before = output.flows.size;
    await until('flows', () => output.flows.size > before || output.flows.size >= fleet.flows.size);
    expect(await running.end('SIGKILL')).toBe('SIGKILL');
    running = rig.correlator();
  });
  await expectTruth(fleet, output, [running]);
  expect(running.log()).toContain('"because":"checkpoint"');
  // At least one kill fell between publishing and checkpoint, or this test shows nothing.
  expect(output.publishedAgain.flagged).toBeGreaterThan(0);
  expect(await deadLetters()).toEqual([
    'flowtag.dead.correlator.host_mismatch payload of node-x on the subject of node-a',
    'flowtag.dead.correlator.malformed',
    'flowtag.dead.correlator.unknown_schema schema uprobe.v99',
  ]);
});

it('hands over without repeating anything when it is stopped in order', { timeout: 60_000 }, async () => {
  const fleet = new Fleet();
  const output = new Output(rig.bus);
  let running = rig.correlator();
  await publish(publisher, fleet, 150, async (tick) => {
    if (tick === 0) await until('the first one to take over', () => running.log().includes('taken over'));
    if (tick !== 75) return;
    expect(await running.end('SIGTERM')).toBe(0);
    running = rig.correlator();
  });
  await expectTruth(fleet, output, [running]);
  expect(output.publishedAgain).toEqual({ flagged: 0, unflagged: 0 });
  expect(await running.end('SIGINT')).toBe(0);
});

it('loses and repeats nothing when the server is killed', { timeout: 90_000 }, async () => {
  const fleet = new Fleet();
  const output = new Output(rig.bus);
  const running = rig.correlator();
  await publish(publisher, fleet, 200, async (tick) => {
    if (tick === 0) await until('the first one to take over', () => running.log().includes('taken over'));
    if (tick === 60) await rig.server.kill9();
    if (tick === 110) await rig.server.restart();
  });
  await until('all flows', () => output.flows.size >= fleet.flows.size, 40_000);
  output.publishedAgain.unflagged = 0; // the publisher sends again what was not acknowledged
  await expectTruth(fleet, output, [running]);
});

function wrongMessages(): Outbound[] {
  const subject = eventSubject('uprobe', 'node-a');
  const good = batchBytes({ kind: 'uprobe', host: 'node-x', seq: 1 }, []);
  const message = { subject, schema: 'uprobe.v1', data: good, rows: 0 };
  return [
    { ...message, messageId: 'wrong-1' },
    { ...message, messageId: 'wrong-2', data: Buffer.from('not a batch') },
    { ...message, messageId: 'wrong-3', schema: 'uprobe.v99' },
  ];
}

async function deadLetters(): Promise<string[]> {
  const letters = new Map<string, string>();
  const { lastSeq } = await rig.bus.streamState(DEAD_LETTER_STREAM);
  const reader = rig.bus.reader({
    stream: DEAD_LETTER_STREAM,
    filter: 'flowtag.dead.>',
    startSeq: 1,
    onMessage: ({ subject, header }: BusMessage) => {
      const detail = subject.endsWith('malformed') ? '' : ` ${header('Flowtag-Dead-Detail')}`;
      letters.set(header('Flowtag-Dead-Seq')!, subject + detail);
    },
    log: quiet,
  });
  await until('dead letters', () => reader.lastSeq >= lastSeq);
  await reader.close();
  return [...letters.values()].sort();
}
