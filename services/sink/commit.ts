// Storing blocks so that each row is stored once, whoever dies when: the boundary of a block is written (by
// compare-and-set) before its rows, and the next boundary or position only after them. A crash in between makes the next
// owner repeat the block with the same token, which the store knows.
import type { Positions } from '../runtime/bus.ts';
import { BusError, FlowtagError } from '../runtime/errors.ts';
import { type Block, distinct, type Part, type Suspects, suspects, without } from './block.ts';
import type { Counters } from './counters.ts';
import { blockToken, encodePosition, type Start } from './position.ts';
import { encodeRowBinary } from './row-binary.ts';
import { TABLES, type Table } from './schema.ts';
import type { Store } from './store-client.ts';

export const POSITION_KEY = 'p.all';

export interface CommitOptions {
  readonly start: Start;
  readonly revision: number;
  /** What the position says of where the rows are. */
  readonly storeId: string;
  readonly positions: Positions;
  /** The store of now: an embedded one that was restarted has another address. Throws StoreError while there is none. */
  readonly store: () => Store;
  /** Resolves when the dead letters of the block are safe, false when they are not yet. */
  readonly deadLettersSafe: () => Promise<boolean>;
  readonly counters: Counters;
  /** What is in the way, before each wait; `undefined` when it works again. */
  readonly onTrouble: (problem: string | undefined) => void;
  readonly wait: (ms: number) => Promise<void>;
}

interface Batch {
  readonly table: Table;
  readonly rows: number;
  readonly repeated: number;
  readonly body: Uint8Array;
}

const BACK_OFF_MS = { first: 200, most: 5_000 } as const;

export class Committer {
  private readonly options: CommitOptions;
  private revision: number;

  constructor(options: CommitOptions) {
    this.options = options;
    this.revision = options.revision;
  }

  /**
   * Returns when the block is stored, however long that takes; the position is left to the next block's boundary or to
   * `settle`. Throws FENCED when another sink took over, and when `signal` aborts during a wait.
   */
  async commit(block: Block, signal: AbortSignal): Promise<void> {
    const { first, last } = block;
    await this.persist(() => this.write({ next: first, block: { first, last } }), signal);
    const batches: Batch[] = [];
    for (const table of TABLES) batches.push(await this.persist(() => this.prepare(table, block), signal));
    await this.persist(() => this.requireDeadLetters(), signal);
    for (const batch of batches) await this.persist(() => this.insert(batch, block), signal);
    const { counters } = this.options;
    for (const { table, rows, repeated } of batches) {
      counters.add(`${table.name}_stored`, rows);
      counters.add('rows_repeated', repeated);
    }
    counters.add('blocks_stored');
  }

  /** Everything up to and with `last` is stored and nothing is begun. */
  settle(last: number, signal: AbortSignal): Promise<void> {
    return this.persist(() => this.write({ next: last + 1 }), signal);
  }

  /** Once a block, before the first attempt: every attempt inserts the same rows. */
  private async prepare(table: Table, block: Block): Promise<Batch> {
    const { parts, repeated } = distinct(table, block.parts);
    const asked = suspects(table, parts);
    const fresh = asked ? without(table, parts, await this.existing(table, asked)) : parts;
    const rows = count(fresh);
    return { table, rows, repeated: repeated + count(parts) - rows, body: encodeRowBinary(table, fresh) };
  }

  private existing(table: Table, asked: Suspects): Promise<Set<string>> {
    return this.options.store().existingIds(table, asked.ids, asked.fromNs, asked.uptoNs);
  }

  private async insert({ table, rows, body }: Batch, block: Block): Promise<void> {
    if (rows === 0) return;
    const { created, epoch } = this.options.start;
    await this.options.store().insertBlock(table, body, blockToken(created, epoch, block));
  }

  private async requireDeadLetters(): Promise<void> {
    if (!(await this.options.deadLettersSafe()))
      throw new FlowtagError('DEAD_LETTERS', 'Messages set aside are not acknowledged by the bus yet.');
  }

  private async write(position: { next: number; block?: { first: number; last: number } }): Promise<void> {
    const { positions, start, storeId } = this.options;
    const { created, epoch } = start;
    const value = encodePosition({ v: 1, created, epoch, store: storeId, ...position });
    this.revision = await positions.set(POSITION_KEY, value, this.revision);
  }

  /** Again and again, the same work, until it is done: what is in the stream must reach the store. */
  private async persist<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let delayMs: number = BACK_OFF_MS.first; ; delayMs = Math.min(2 * delayMs, BACK_OFF_MS.most)) {
      try {
        const result = await work();
        this.options.onTrouble(undefined);
        return result;
      } catch (error) {
        if (!(error instanceof FlowtagError)) throw error;
        if (error instanceof BusError && error.code === 'FENCED')
          throw new BusError('FENCED', `Another sink took over (${error.message}).`, { cause: error });
        this.options.onTrouble(error.message);
      }
      this.options.counters.add('retries');
      await this.options.wait(delayMs);
      signal.throwIfAborted();
    }
  }
}

function count(parts: readonly Part[]): number {
  return parts.reduce((sum, { rows }) => sum + rows.length, 0);
}
