// The fault table.
import { setTimeout as sleep } from 'node:timers/promises';
import { EVENT_STREAM } from '../../schemas/subjects.ts';
import type { Row } from './run-row.ts';

const FIVE_MINUTES_MS = 300_000;

export const ROWS: readonly Row[] = [
  { name: 'calm', title: 'nothing', fault: async () => undefined },
  {
    name: 'capture',
    title: 'kill -9 of the capture of two hosts',
    touchesHosts: 2,
    fault: async ({ rig, hosts }) => {
      const killed = hosts.splice(-2);
      hosts.push(...(await Promise.all(killed.map((host) => rig.killHost(host)))));
    },
  },
  { name: 'correlator', title: 'kill -9 of a correlator', fault: ({ rig }) => rig.kill('correlator') },
  { name: 'sink', title: 'kill -9 of the sink that writes', fault: ({ rig }) => rig.kill('sink') },
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
    title: 'kill -9 of a correlator and the sink that writes at once',
    fault: async ({ rig }) => {
      await Promise.all([rig.kill('correlator'), rig.kill('sink')]);
    },
  },
  {
    name: 'capture-correlator',
    title: 'kill -9 of the capture of a host and a correlator at once',
    fault: async ({ rig, hosts }) => {
      const [host] = await Promise.all([rig.killHost(hosts.pop()!), rig.kill('correlator')]);
      hosts.push(host);
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
    name: 'nats-leader',
    title: 'kill -9 of the NATS server that leads the stream of events, one of three',
    cluster: true,
    fault: async ({ rig, awayMs }) => {
      const leader = await rig.leaderOf(EVENT_STREAM);
      await leader.kill9();
      await sleep(awayMs);
      await leader.restart();
    },
  },
  {
    name: 'scale',
    title: 'correlators scaled from 2 to 4 to 1',
    fault: async ({ rig, awayMs }) => {
      rig.start('correlator');
      rig.start('correlator');
      await sleep(awayMs);
      await Promise.all(
        rig
          .of('correlator')
          .slice(1)
          .map((one) => one.end('SIGTERM')),
      );
      await sleep(awayMs);
      rig.start('correlator');
    },
  },
  {
    name: 'nats-restart',
    title: 'NATS restarted in order',
    fault: async ({ rig }) => {
      await rig.nats.restart();
    },
  },
  {
    name: 'cut',
    title: 'one host cut off for 20 s: connections reset and refused',
    touchesHosts: 1,
    fault: async ({ link, awayMs }) => {
      link.set('cut');
      await sleep(awayMs);
      link.set('up');
    },
  },
  {
    name: 'hole',
    title: 'one host in a black hole for 20 s: connections open and silent',
    touchesHosts: 1,
    fault: async ({ link, awayMs }) => {
      link.set('hole');
      await sleep(awayMs);
      link.set('up');
    },
  },
  {
    name: 'capture-cut',
    title: 'kill -9 of the capture of a host that is cut off',
    touchesHosts: 1,
    fault: async ({ rig, hosts, link, awayMs }) => {
      link.set('cut');
      await sleep(awayMs / 2);
      const again = rig.killHost(hosts.shift()!);
      await sleep(awayMs / 2);
      link.set('up');
      hosts.unshift(await again);
    },
  },
  {
    name: 'spool-full',
    title: 'one host cut off for longer than its spool holds',
    touchesHosts: 1,
    overflows: true,
    fault: async ({ link, awayMs }) => {
      link.set('cut');
      await sleep(awayMs);
      link.set('up');
    },
  },
  {
    name: 'unruly',
    title: 'a fifth of all messages twice, a tenth late by up to 256 messages',
    touchesHosts: 1,
    unruly: true,
    fault: async () => undefined,
  },
  {
    name: 'clocks',
    title: 'the clock of one host 5 minutes ahead, of another 5 minutes behind',
    touchesHosts: 2,
    fault: async () => undefined,
    clockOffsetMs: (n) => [FIVE_MINUTES_MS, -FIVE_MINUTES_MS][n] ?? 0,
  },
];
