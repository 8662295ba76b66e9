// Messages to blocks, the unit of storing: [first, last] of the stream's sequence, closed by size or by age. Pure.
import type { Row, Rows } from './row-binary.ts';
import type { Table } from './schema.ts';

/** What one message of the stream brings; a message that could not be read brings nothing but its sequence. */
export interface Part extends Rows {
  readonly table: Table;
  /** Its rows may have been stored in another block already. */
  readonly suspect: boolean;
  /** First and last day (since 1970) of its rows: each is a partition of the table. */
  readonly days: readonly [first: number, last: number];
}
export interface Block {
  readonly first: number;
  readonly last: number;
  readonly rows: number;
  readonly parts: readonly Part[];
}
export interface BlockLimits {
  readonly maxRows: number;
  /** Days its rows lie in: a partition costs an insert as much as some thousand rows. */
  readonly maxDays: number;
  readonly maxWaitMs: number;
}
export interface Boundary {
  readonly first: number;
  readonly last: number;
}

export class BlockCollector {
  private readonly limits: BlockLimits;
  /** A block that was begun by an earlier process: its boundary is fixed, whatever size or age say. */
  private fixed: Boundary | undefined;
  private first = 0;
  private last = 0;
  private parts: Part[] = [];
  private rows = 0;
  private days = new Set<number>();
  private openedMs = 0;

  constructor(limits: BlockLimits, fixed?: Boundary) {
    this.limits = limits;
    this.fixed = fixed;
  }

  /** When `due` will have something, unless `add` has it before; undefined while empty. */
  get dueMs(): number | undefined {
    return this.last === 0 || this.fixed ? undefined : this.openedMs + this.limits.maxWaitMs;
  }

  /** Blocks that this message closes, in order; sequences must ascend. */
  add(seq: number, part: Part | undefined, nowMs: number): Block[] {
    const closed: Block[] = [];
    // The stream discarded the end of the fixed block: it will not come.
    if (this.fixed && seq > this.fixed.last) closed.push(...this.closeFixed());
    if (this.last === 0) {
      this.first = seq;
      this.openedMs = nowMs;
    }
    this.last = seq;
    if (part) {
      this.parts.push(part);
      this.rows += part.rows.length;
      for (let [day, last] = part.days; day <= last; day++) this.days.add(day);
    }
    if (this.fixed ? seq === this.fixed.last : this.full) closed.push(...this.close());
    return closed;
  }

  /** The open block, when its first message has waited long enough. */
  due(nowMs: number): Block[] {
    return this.dueMs !== undefined && nowMs >= this.dueMs ? this.close() : [];
  }

  /** The open block whatever its age; nothing while a fixed block is incomplete. */
  close(): Block[] {
    if (this.last === 0) return [];
    if (this.fixed) return this.last === this.fixed.last ? this.closeFixed() : [];
    return [this.take(this.first, this.last)];
  }

  private get full(): boolean {
    return this.rows >= this.limits.maxRows || this.days.size >= this.limits.maxDays;
  }

  private closeFixed(): Block[] {
    const { first, last } = this.fixed!;
    this.fixed = undefined;
    return [this.take(first, last)];
  }

  private take(first: number, last: number): Block {
    const block = { first, last, rows: this.rows, parts: this.parts };
    this.first = 0;
    this.last = 0;
    this.parts = [];
    this.rows = 0;
    this.days = new Set();
    return block;
  }
}

/** Parts of one table without rows whose id came before in the block. The rows left out are counted. */
export function distinct(table: Table, parts: readonly Part[]): { parts: Part[]; repeated: number } {
  const seen = new Set<Row[string]>();
  let repeated = 0;
  const kept = parts
    .filter((part) => part.table === table)
    .map((part) => {
      const rows = part.rows.filter((row) => {
        const id = row[table.id.field]!;
        if (seen.has(id)) return false;
        seen.add(id);
        return true;
      });
      repeated += part.rows.length - rows.length;
      return { ...part, rows };
    });
  return { parts: kept, repeated };
}

export interface Suspects {
  readonly ids: readonly string[];
  readonly fromNs: bigint;
  readonly uptoNs: bigint;
}

/** Ids of the suspect rows and the span of time they lie in; undefined when there are none. */
export function suspects(table: Table, parts: readonly Part[]): Suspects | undefined {
  const ids: string[] = [];
  let fromNs: bigint | undefined;
  let uptoNs = 0n;
  for (const { rows, suspect } of parts) {
    if (!suspect) continue;
    for (const row of rows) {
      const time = row.time as bigint;
      ids.push(row[table.id.field] as string);
      if (fromNs === undefined || time < fromNs) fromNs = time;
      if (time > uptoNs) uptoNs = time;
    }
  }
  return fromNs === undefined ? undefined : { ids, fromNs, uptoNs };
}

/** The parts without the rows that are stored; rows that are not suspect stay. */
export function without(table: Table, parts: readonly Part[], stored: ReadonlySet<string>): Part[] {
  return parts.map((part) =>
    part.suspect
      ? { ...part, rows: part.rows.filter((row) => !stored.has(row[table.id.field] as string)) }
      : part,
  );
}
