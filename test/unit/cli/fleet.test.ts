import { expect, test } from 'vitest';
import type { LedgerAnswer } from '../../../schemas/ledger.ts';
import type { Status } from '../../../schemas/status.ts';
import { Fleet } from '../../../services/cli/fleet.ts';

const S = 1_000_000_000n;

function beat(more: Partial<Status>): Status {
  return {
    v: 1,
    role: 'capture',
    instance: 'a',
    host: 'a',
    version: '0.1.0',
    timeNs: 100n * S,
    startedNs: 1n,
    state: 'ready',
    notes: [],
    counters: {},
    ...more,
  };
}

function heard(...beats: Partial<Status>[]): Fleet {
  const fleet = new Fleet();
  for (const each of beats) fleet.accept(beat(each));
  return fleet;
}

const book = (host: string, time: bigint) => ({ 'host.name': host, time }) as LedgerAnswer;

test('rates are those between two heartbeats of one start', () => {
  const counters = (captured: number) => ({ 'captured.socket': captured, 'dropped.ring_full.socket': 2 });
  const fleet = heard(
    { counters: counters(10) },
    { timeNs: 105n * S, counters: counters(60) },
    { instance: 'b', host: 'b', counters: counters(10) },
    { instance: 'b', host: 'b', timeNs: 105n * S, startedNs: 2n, counters: counters(3) },
  );
  expect(fleet.members([], 0n)).toMatchObject([
    { host: 'a', eventsPerSecond: 10, dropped: 2 },
    { host: 'b', eventsPerSecond: undefined },
  ]);
});

test('a host with events of the last day that is not heard is silent', () => {
  const books = [book('a', 50n * S), book('gone', 60n * S), book('long gone', 5n * S)];
  const members = heard({}, { role: 'sink', host: 'gone' }).members(books, 10n * S);
  expect(members.map(({ role, host, state }) => [role, host, state])).toEqual([
    ['capture', 'a', 'ready'],
    ['capture', 'gone', 'silent'],
    ['sink', 'gone', 'ready'],
  ]);
});

test('what waits is told in the terms of each service', () => {
  const members = heard(
    { counters: { queued: 3, spool_bytes: 5_000_000 }, backend: 'fentry (tracepoint: no)' },
    { role: 'correlator', counters: { messages_pending: 7 } },
  ).members([], 0n);
  expect(members.map(({ lag, backend }) => [lag, backend])).toEqual([
    ['3 + 4883 KiB', 'fentry'],
    ['7', ''],
  ]);
});
