// The order of writes that makes every row stored once: a sink is killed before or after any of them, at random, and
// another one takes over with what is in the bus and in the store.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BusError } from '../../../services/runtime/errors.ts';
import { BlockCollector, type Part } from '../../../services/sink/block.ts';
import { Committer } from '../../../services/sink/commit.ts';
import { Counters } from '../../../services/sink/counters.ts';
import { decodePosition, planStart } from '../../../services/sink/position.ts';
import { FLOWS, type Table } from '../../../services/sink/schema.ts';
import { type Store, StoreError } from '../../../services/sink/store-client.ts';
import { flow, hexOf } from '../../integration/sink/rows.ts';

class Killed extends Error {}

/** What survives a sink. A store that knows tokens; a KV value with compare-and-set. */
class World {
  readonly tokens = new Map<string, number>();
  readonly rows: string[] = [];
  value: Uint8Array | undefined;
  revision = 0;
  /** What the next calls do; after the last everything works. */
  readonly fates: Fate[];
  constructor(fates: readonly Fate[]) {
    this.fates = [...fates];
  }

  /** Runs `effect` unless the fate is to die or fail before it. */
  async meet<T>(effect: () => T, failure: Error): Promise<T> {
    await null;
    const fate = this.fates.shift() ?? 'works';
    if (fate === 'killed before') throw new Killed();
    if (fate === 'fails before') throw failure;
    const result = effect();
    if (fate === 'killed after') throw new Killed();
    if (fate === 'fails after') throw failure;
    return result;
  }

  readonly store: Pick<Store, 'insertBlock' | 'existingIds'> = {
    insertBlock: (table: Table, body: Uint8Array, token: string) =>
      this.meet(() => {
        const key = `${table.name} ${token}`;
        if (!this.tokens.has(key)) this.rows.push(...idsIn(body));
        this.tokens.set(key, body.length);
      }, new StoreError('STORE_AWAY', 'away')),
    existingIds: (_: Table, ids: readonly string[]) =>
      this.meet(
        () => new Set(ids.filter((id) => this.rows.includes(id))),
        new StoreError('STORE_AWAY', 'away'),
      ),
  };

  readonly positions = {
    get: async () => (this.value ? { value: this.value, revision: this.revision } : undefined),
    set: (_: string, value: Uint8Array, revision: number) =>
      this.meet(() => {
        // The bus tells its own unanswered write from another's, as the real one does.
        if (revision !== this.revision && Buffer.compare(value, this.value!) !== 0)
          throw new BusError('FENCED', 'fenced');
        this.value = value;
        return ++this.revision;
      }, new BusError('TIMEOUT', 'no answer')),
  };
}
type Fate = 'works' | 'killed before' | 'killed after' | 'fails before' | 'fails after';

/** The id is the first column, and the ids of these rows are small numbers. */
function idsIn(body: Uint8Array): string[] {
  const hex = Buffer.from(body).toString('hex');
  return [...hex.matchAll(/f1f1f1f1f1f1f1f1[0-9a-f]{16}/g)].map(([id]) => id!);
}
const idOf = (n: number) => `f1f1f1f1f1f1f1f1${hexOf(n, 16)}`;

/** One sink from take-over to the end of the stream, or to its death. */
async function life(world: World, stream: readonly Part[], blockRows: number): Promise<'died' | 'done'> {
  const known = world.value && decodePosition(world.value);
  const start = planStart(known, { created: 'c', firstSeq: 1, lastSeq: stream.length });
  const committer = new Committer({
    // As if it had been there first: only tokens and boundaries are under test.
    start,
    storeId: 'store-1',
    revision: world.revision,
    positions: world.positions,
    store: () => world.store as Store,
    deadLettersSafe: async () => true,
    counters: new Counters(),
    onTrouble: () => {},
    wait: async () => {},
  });
  const collector = new BlockCollector({ maxRows: blockRows, maxDays: 99, maxWaitMs: 1e9 }, start.fixed);
  const { signal } = new AbortController();
  try {
    for (const part of stream.slice(start.startSeq - 1))
      for (const block of collector.add(part.seq, part, 0)) await committer.commit(block, signal);
    for (const block of collector.close()) {
      await committer.commit(block, signal);
      await committer.settle(block.last, signal);
    }
    return 'done';
  } catch (error) {
    if (error instanceof Killed) return 'died';
    throw error;
  }
}

describe('every row is stored once', () => {
  const fate = fc.constantFrom<Fate>(
    'works',
    'works',
    'killed before',
    'killed after',
    'fails before',
    'fails after',
  );
  const scenario = fc.record({
    fates: fc.array(fate, { maxLength: 40 }),
    messages: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 20 }),
    /** Each sink cuts blocks differently, as their ages do. */
    blockRows: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
  });

  test.each([false, true])('rows suspect: %s', async (suspect) => {
    await fc.assert(
      fc.asyncProperty(scenario, async ({ fates, messages, blockRows }) => {
        let n = 0;
        const stream: Part[] = messages.map((count, i) => ({
          table: FLOWS,
          seq: i + 1,
          rows: Array.from({ length: count }, () =>
            flow(++n, { 'flowtag.flow.id': idOf(n), 'flowtag.request.id': null }),
          ),
          suspect,
          days: [1, 1],
        }));
        const world = new World(fates);
        for (
          let lives = 0;
          (await life(world, stream, blockRows[lives % blockRows.length]!)) === 'died';
          lives++
        );
        expect([...world.rows].sort()).toEqual(Array.from({ length: n }, (_, i) => idOf(i + 1)).sort());
      }),
      { numRuns: 500 },
    );
  });
});

test('gives up when another sink wrote the position', async () => {
  const world = new World([]);
  const part: Part = { table: FLOWS, seq: 1, rows: [flow(1)], suspect: false, days: [1, 1] };
  world.positions.set('', new Uint8Array([1]), 0);
  await null;
  const committer = new Committer({
    start: planStart(undefined, { created: 'c', firstSeq: 1, lastSeq: 1 }),
    storeId: 'store-1',
    revision: 0,
    positions: world.positions,
    store: () => world.store as Store,
    deadLettersSafe: async () => true,
    counters: new Counters(),
    onTrouble: () => {},
    wait: async () => {},
  });
  const { signal } = new AbortController();
  await expect(committer.commit({ first: 1, last: 1, rows: 1, parts: [part] }, signal)).rejects.toMatchObject(
    { code: 'FENCED' },
  );
  expect(world.rows).toEqual([]);
});

test('does not go on before what was set aside is safe, nor after it was told to stop', async () => {
  const world = new World([]);
  const troubles: (string | undefined)[] = [];
  const stop = new AbortController();
  let asked = 0;
  const committer = new Committer({
    start: planStart(undefined, { created: 'c', firstSeq: 1, lastSeq: 1 }),
    storeId: 'store-1',
    revision: 0,
    positions: world.positions,
    store: () => world.store as Store,
    deadLettersSafe: async () => ++asked === 99,
    counters: new Counters(),
    onTrouble: (problem) => troubles.push(problem),
    wait: async () => {
      if (asked === 3) stop.abort(new Error('stopped'));
    },
  });
  const part: Part = { table: FLOWS, seq: 1, rows: [flow(1)], suspect: false, days: [1, 1] };
  await expect(committer.commit({ first: 1, last: 1, rows: 1, parts: [part] }, stop.signal)).rejects.toThrow(
    'stopped',
  );
  expect(world.rows).toEqual([]);
  expect(troubles.at(-1)).toMatch(/not acknowledged/);
});
