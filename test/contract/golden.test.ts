// What is on the bus of a fleet today: these bytes. Another version of flowtag, or a program in another language, reads
// and writes the same. After a deliberate change of a message: UPDATE_GOLDEN=1 npx vitest run test/contract
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { unpack } from '../../schemas/codec.ts';
import { decodeEvents, type EventBatch } from '../../schemas/events.ts';
import { LEDGER_FIELDS } from '../../schemas/ledger.ts';
import { decodeRows, FLOW_FIELDS, REQUEST_FIELDS } from '../../schemas/rows.ts';
import { status } from '../../schemas/status.ts';
import {
  BOOKS,
  CALLERS,
  FLOW,
  HEAD,
  KPROBE_PROCESSES,
  KPROBE_ROWS,
  MESSAGES,
  PROCESS,
  REQUEST,
  STATUS,
  UPROBE_ROWS,
} from './messages.ts';

const FOLDER = new URL('golden/', import.meta.url).pathname;

describe("today's encoder", () => {
  it.each(Object.entries(MESSAGES))('writes the golden bytes of %s', (schema, encode) => {
    const hex = Buffer.from(encode())
      .toString('hex')
      .replace(/.{1,100}/g, '$&\n');
    const file = `${FOLDER}${schema}.hex`;
    if (process.env.UPDATE_GOLDEN) writeFileSync(file, hex);
    expect(existsSync(file), `${file} is missing: see the top of golden.test.ts`).toBe(true);
    expect(hex).toBe(readFileSync(file, 'utf8'));
  });

  it('has no golden bytes that nothing writes', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(
      Object.keys(MESSAGES)
        .map((schema) => `${schema}.hex`)
        .sort(),
    );
  });
});

describe("today's decoder", () => {
  it('reads the golden uprobe batch', () => {
    const { rows, process, ...head } = eventsOf('uprobe.v1');
    expect(head).toEqual({ ...HEAD, kind: 'uprobe', seq: 41, n: 2, processes: 1, callers: 0 });
    expect(table(rows, 2)).toEqual(UPROBE_ROWS);
    expect(table(process, 1)).toEqual([PROCESS]);
  });

  it('reads the golden kprobe batch', () => {
    const batch = eventsOf('kprobe.v1');
    if (batch.kind !== 'kprobe') throw new Error(batch.kind);
    const { rows, process, caller, ...head } = batch;
    expect(head).toEqual({ ...HEAD, kind: 'kprobe', seq: 42, n: 3, processes: 2, callers: 2 });
    expect(table(rows, 3)).toEqual(KPROBE_ROWS);
    expect(table(process, 2)).toEqual(KPROBE_PROCESSES);
    expect(table(caller, 2)).toEqual(CALLERS);
  });

  it('reads the golden flows and requests', () => {
    expect(decodeRows(FLOW_FIELDS, golden('flow.v1'))).toEqual([FLOW]);
    expect(decodeRows(REQUEST_FIELDS, golden('request.v1'))).toEqual([REQUEST]);
    expect(decodeRows(LEDGER_FIELDS, golden('ledger.v1'))).toEqual([BOOKS]);
  });

  it('reads the golden status', () => {
    expect(status.parse(unpack(golden('status.v1')))).toEqual(STATUS);
  });
});

function golden(schema: string): Uint8Array {
  return Buffer.from(readFileSync(`${FOLDER}${schema}.hex`, 'utf8').replaceAll('\n', ''), 'hex');
}

function eventsOf(schema: string): EventBatch {
  const batch = decodeEvents(golden(schema));
  if (typeof batch === 'string') throw new Error(batch);
  return batch;
}

/** Rows from columns; u64 as bigint. */
function table(columns: object, n: number): Record<string, unknown>[] {
  return Array.from({ length: n }, (_, row) =>
    Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, cell(column, row)])),
  );
}

function cell(column: { get?(row: number): string; bigint?(row: number): bigint }, row: number): unknown {
  return column.bigint?.(row) ?? column.get?.(row) ?? (column as ArrayLike<number>)[row];
}
