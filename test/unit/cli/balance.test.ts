import { describe, expect, test } from 'vitest';
import type { LedgerAnswer } from '../../../schemas/ledger.ts';
import { balancesOf } from '../../../services/cli/balance.ts';

const GOOD = {
  'captured.request_start': 2,
  'captured.request_end': 2,
  'captured.socket': 6,
  'received.uprobe': 4,
  'received.kprobe': 6,
  flows: 3,
  merged: 1,
  closes: 2,
  requests: 2,
};

function answer(counts: Readonly<Record<string, number>>, more: Partial<LedgerAnswer> = {}): LedgerAnswer {
  return {
    'flowtag.ledger.id': '0'.repeat(32),
    time: 9n,
    'host.name': 'h',
    'flowtag.boot': 'b',
    'flowtag.run': 1n,
    'flowtag.ledger.counts': JSON.stringify(counts),
    'flowtag.ledger.flows_stored': 3,
    'flowtag.ledger.requests_stored': 2,
    ...more,
  };
}

const only = (...rows: LedgerAnswer[]) => balancesOf(rows)[0]!;

describe('the books of a boot', () => {
  test('add up when every event arrived and every flow is stored', () => {
    expect(only(answer(GOOD))).toMatchObject({
      flows: 3,
      flowsStored: 3,
      lost: 0,
      inFlight: 0,
      problems: [],
    });
  });

  test('add up when what did not arrive was dropped, and says where', () => {
    const balance = only(answer({ ...GOOD, 'captured.socket': 10, 'dropped.ring_full.socket': 4 }));
    expect(balance).toMatchObject({ lost: 0, inFlight: 0, problems: [] });
    expect(balance.runs[0]).toMatchObject({ captured: 14, dropped: 4, received: 10, missing: 0 });
  });

  test('are open while events or rows are on their way', () => {
    expect(only(answer({ ...GOOD, 'captured.socket': 8 }))).toMatchObject({ inFlight: 2, problems: [] });
    expect(only(answer(GOOD, { 'flowtag.ledger.flows_stored': 1 }))).toMatchObject({ inFlight: 2 });
  });

  test('what a run did not deliver before the next began is lost', () => {
    const stored = { 'flowtag.ledger.flows_stored': 6, 'flowtag.ledger.requests_stored': 4 };
    const crashed = answer({ ...GOOD, 'captured.socket': 9 }, stored);
    const next = answer(GOOD, { ...stored, 'flowtag.run': 2n });
    expect(only(next, crashed)).toMatchObject({ lost: 3, inFlight: 0, problems: [] });
  });

  test.each([
    [
      'more is stored than was made',
      answer(GOOD, { 'flowtag.ledger.flows_stored': 4 }),
      /4 flows are stored, of 3/,
    ],
    [
      'batches are missing',
      answer({ ...GOOD, 'captured.socket': 8, lost_batches: 2 }),
      /2 batches did not arrive/,
    ],
    ['more arrived than was captured', answer({ ...GOOD, 'captured.socket': 1 }), /10 arrived, of 5/],
    [
      'socket events are unaccounted for',
      answer({ ...GOOD, closes: 0 }),
      /of 6 socket events 4 are accounted/,
    ],
    [
      'they were not seen from the beginning',
      answer({ ...GOOD, 'captured.socket': 8, first_batch: 9 }),
      /begin with batch 9/,
    ],
    ['they cannot be read', answer(GOOD, { 'flowtag.ledger.counts': '[]' }), /cannot be read/],
  ])('do not add up when %s', (_, row, problem) => {
    expect(only(row).problems.join()).toMatch(problem);
  });

  test('add up when the host told of the batches that are missing', () => {
    const dropped = { 'captured.socket': 8, 'dropped.spool_full.kprobe': 2, lost_batches: 1 };
    expect(only(answer({ ...GOOD, ...dropped }))).toMatchObject({ inFlight: 0, problems: [] });
  });

  test('what an earlier boot of the host did not deliver is lost', () => {
    const before = answer({ ...GOOD, 'captured.socket': 9 });
    const after = answer(GOOD, { 'flowtag.boot': 'c', 'flowtag.run': 2n });
    expect(balancesOf([before, after]).map(({ lost, inFlight }) => [lost, inFlight])).toEqual([
      [3, 0],
      [0, 0],
    ]);
  });

  test('are judged without the store when some of its rows have expired', () => {
    const expired = { 'flowtag.ledger.flows_stored': null, 'flowtag.ledger.requests_stored': null };
    expect(only(answer(GOOD, expired))).toMatchObject({ inFlight: 0, problems: [] });
  });

  test('are told apart by host and boot', () => {
    const rows = [answer(GOOD), answer(GOOD, { 'flowtag.boot': 'c' }), answer(GOOD, { 'host.name': 'i' })];
    expect(balancesOf(rows).map(({ host, boot }) => host + boot)).toEqual(['hb', 'hc', 'ib']);
  });
});
