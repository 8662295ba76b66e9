// The fault table.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from './run-row.ts';

const FIVE_MINUTES_MS = 300_000;

export const ROWS: readonly Row[] = [
  { name: 'calm', title: 'nothing', fault: async () => undefined },
  { name: 'correlator', title: 'kill -9 of a correlator', fault: ({ rig }) => rig.kill('correlator') },
  { name: 'sink', title: 'kill -9 of the sink', fault: ({ rig }) => rig.kill('sink') },
  { name: 'store', title: 'kill -9 of the store', fault: ({ rig }) => rig.kill('store') },
  {
    name: 'store-away',
    title: 'the store away for 20 s',
    fault: ({ rig, awayMs }) => rig.kill('store', awayMs),
  },
  {
    name: 'nats',
    title: 'kill -9 of NATS',
    fault: async ({ rig }) => {
      await rig.nats.kill9();
      await sleep(1_000);
      await rig.nats.restart();
    },
  },
  {
    name: 'correlator-sink',
    title: 'kill -9 of a correlator and the sink at once',
    fault: async ({ rig }) => {
      await Promise.all([rig.kill('correlator'), rig.kill('sink')]);
    },
  },
  {
    name: 'nats-store',
    title: 'kill -9 of NATS and the store at once',
    fault: async ({ rig }) => {
      await Promise.all([rig.nats.kill9(), rig.kill('store')]);
      await rig.nats.restart();
    },
  },
  {
    name: 'clocks',
    title: 'the clock of one host 5 minutes ahead, of another 5 minutes behind',
    fault: async () => undefined,
    clockOffsetMs: (n) => [FIVE_MINUTES_MS, -FIVE_MINUTES_MS][n] ?? 0,
  },
];
