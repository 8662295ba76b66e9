import { describe, expect, test } from 'vitest';
import { readCounts } from '../../../schemas/ledger.ts';
import { Books, entriesOf } from '../../../services/correlator/books.ts';
import { newCounters } from '../../../services/correlator/join-counters.ts';
import { batch, DEFAULT_PROCESS, start } from './batches.ts';

const WHO = { host: 'h', boot: 'b', idPrefix: '0123456789abcdef' };
const NOTHING = entriesOf(newCounters());
const S = 1_000_000_000n;

/** Enters a batch that changed nothing but what it says itself. */
function enter(
  books: Books,
  uptoNs: bigint,
  more: { seq?: number; sinceNs?: bigint; captured?: number } = {},
) {
  const { seq = 1, sinceNs = 1n, captured = 0 } = more;
  const ledger = { captured: { socket: captured }, dropped: {} };
  return books
    .enter(WHO, batch({ kind: 'kprobe', seq, sinceNs, uptoNs, ledger }, []), NOTHING, NOTHING)
    .at(-1);
}

describe('the row of a run', () => {
  test('comes with the first batch, at most once in a second of a busy host, and with each change of an idle one', () => {
    const books = new Books();
    expect(enter(books, 5n * S)).toMatchObject({ time: 5n * S, 'flowtag.run': 1n, 'host.name': 'h' });
    const busy = (uptoNs: bigint) =>
      books
        .enter(WHO, batch({ kind: 'uprobe', seq: 2, uptoNs, ledger }, [start(1, 1n)]), NOTHING, NOTHING)
        .at(-1);
    const ledger = { captured: { socket: 9 }, dropped: {} };
    expect(busy(5n * S + 1n)).toBeUndefined();
    expect(busy(6n * S)).toMatchObject({ time: 6n * S });
    expect(enter(books, 6n * S + 1n, { captured: 10 })).toMatchObject({ time: 6n * S + 1n });
    expect(enter(books, 6n * S + 2n, { captured: 10 })).toBeUndefined();
  });

  test('comes when nothing changed only every ten seconds', () => {
    const books = new Books();
    enter(books, 5n * S);
    expect(enter(books, 14n * S)).toBeUndefined();
    expect(enter(books, 15n * S)).toBeDefined();
  });

  test('waits for a host whose word is older than its events', () => {
    const books = new Books();
    enter(books, 5n * S);
    const early = batch({ kind: 'uprobe', seq: 2, uptoNs: 6n * S }, [start(1, 1n)]);
    expect(books.enter(WHO, early, NOTHING, NOTHING)).toEqual([]);
    expect(enter(books, 7n * S, { seq: 3, captured: 1 })).toMatchObject({ time: 7n * S });
  });

  test('comes also after the clock was set back', () => {
    const books = new Books();
    enter(books, 500n * S);
    expect(enter(books, 200n * S)).toBeDefined();
  });

  test('comes when the last batch that was missing has arrived', () => {
    const books = new Books();
    const lost = (lost_batches: number) => ({ ...NOTHING, lost_batches });
    const at = (seq: number) =>
      batch(
        { kind: 'uprobe', seq, uptoNs: 5n * S, ledger: { captured: { request_start: seq }, dropped: {} } },
        [start(seq, 1n)],
      );
    books.enter(WHO, at(1), lost(0), lost(0));
    expect(books.enter(WHO, at(4), lost(0), lost(2))).toEqual([]);
    expect(books.enter(WHO, at(2), lost(2), lost(1))).toEqual([]);
    const [complete] = books.enter(WHO, at(3), lost(1), lost(0));
    expect(readCounts(complete!['flowtag.ledger.counts']!)).toMatchObject({
      'captured.request_start': 4,
      'received.uprobe': 4,
      lost_batches: 0,
    });
  });

  test('has an id that names the boot and is the same in a replay', () => {
    const [one, two] = [new Books(), new Books()].map((books) => enter(books, S)!['flowtag.ledger.id']);
    expect(one).toBe(two);
    expect(one).toMatch(/^0123456789abcdef[0-9a-f]{16}$/);
  });
});

test('each run has books of its own; the last two are remembered, and closed books stay closed', () => {
  const books = new Books();
  for (const run of [1n, 2n, 3n]) enter(books, run * S, { sinceNs: run, captured: Number(run) });
  expect(enter(books, 9n * S, { sinceNs: 1n, captured: 7 })).toBeUndefined();
  expect(books.state().map(({ sinceNs, counts }) => [sinceNs, counts['captured.socket']])).toEqual([
    [2n, 2],
    [3n, 3],
  ]);
});

test('a run that ended in the middle of a second gives its last row when the next begins', () => {
  const books = new Books();
  const ledger = { captured: { socket: 1 }, dropped: {} };
  enter(books, 5n * S);
  const last = batch({ kind: 'uprobe', seq: 2, uptoNs: 5n * S + 7n, ledger }, [start(1, 1n)]);
  expect(books.enter(WHO, last, NOTHING, NOTHING)).toEqual([]);
  const next = batch({ kind: 'kprobe', seq: 1, sinceNs: 9n, uptoNs: 8n * S }, []);
  expect(books.enter(WHO, next, NOTHING, NOTHING)).toMatchObject([
    {
      'flowtag.run': 1n,
      time: 5n * S + 7n,
      'flowtag.ledger.counts': '{"captured.socket":1,"received.uprobe":1}',
    },
    { 'flowtag.run': 9n, time: 8n * S },
  ]);
});

test('a run that is not seen from its beginning says so', () => {
  const row = enter(new Books(), S, { seq: 7 })!;
  expect(readCounts(row['flowtag.ledger.counts']!)).toEqual({ first_batch: 7, 'captured.socket': 0 });
});

test('what arrived and what became of it is booked under its names', () => {
  const books = new Books();
  const after = { ...newCounters(), flowsOut: 3, closes: 2, usesMerged: 1 };
  const events = batch({ kind: 'uprobe', seq: 1, uptoNs: 30n * S, processes: [DEFAULT_PROCESS] }, [
    start(1, 1n),
  ]);
  const row = books.enter(WHO, events, NOTHING, entriesOf(after))[0]!;
  expect(readCounts(row['flowtag.ledger.counts']!)).toEqual({
    'received.uprobe': 1,
    flows: 3,
    closes: 2,
    merged: 1,
  });
});

test('names that a host makes up in every batch do not pile up', () => {
  const books = new Books();
  for (let seq = 1; seq <= 200; seq++) {
    const dropped = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`${seq}.${n}`, 1]));
    const ledger = { captured: { socket: seq }, dropped };
    books.enter(WHO, batch({ kind: 'kprobe', seq, uptoNs: 5n * S, ledger }, []), NOTHING, NOTHING);
  }
  const { counts } = books.state()[0]!;
  expect(Object.keys(counts).length).toBe(257);
  expect(counts.names_left_out).toBe(64 * 200 - 255);
  expect(counts['captured.socket']).toBe(200);
});
