// One message of the stream to rows of a table, or to the reason why it is set aside. Pure.
import { REPLAY_HEADER, SCHEMA_HEADER } from '../../schemas/codec.ts';
import { decodeRows } from '../../schemas/rows.ts';
import type { Part } from './block.ts';
import { misfit, type Row } from './row-binary.ts';
import { TABLES } from './schema.ts';

export type Refused = {
  readonly reason: 'unknown_schema' | 'malformed' | 'unstorable';
  readonly problem: string;
};

export interface Incoming {
  readonly schema: string;
  readonly data: Uint8Array;
  readonly seq: number;
  header(name: string): string | undefined;
}

/** Messages up to `suspectUpto`, and replayed ones, may be stored in part: their rows are suspect. */
export function readMessage(message: Incoming, suspectUpto: number): Part | Refused {
  const { seq, schema } = message;
  const suspect = seq <= suspectUpto || message.header(REPLAY_HEADER) === '1';
  const table = TABLES.find((each) => each.schema === schema);
  if (table === undefined)
    return { reason: 'unknown_schema', problem: `${SCHEMA_HEADER} is '${schema.slice(0, 100)}'` };
  const rows: Row[] | string = decodeRows(table.fields, message.data);
  if (typeof rows === 'string') return { reason: 'malformed', problem: rows };
  const problem = misfit(table, rows);
  if (problem !== undefined) return { reason: 'unstorable', problem };
  const days = daysOf(rows);
  if (days[1] - days[0] >= DAYS_MAX)
    return { reason: 'unstorable', problem: `its rows lie ${days[1] - days[0]} days apart` };
  return { table, rows, seq, suspect, days };
}

/** One message is one moment of one host: this far apart something is wrong, and it would slow down every other row. */
const DAYS_MAX = 8;
const DAY_NS = 86_400_000_000_000n;

function daysOf(rows: readonly Row[]): [first: number, last: number] {
  let first: bigint | undefined;
  let last = 0n;
  for (const row of rows) {
    const time = row.time as bigint;
    if (first === undefined || time < first) first = time;
    if (time > last) last = time;
  }
  return [Number((first ?? last) / DAY_NS), Number(last / DAY_NS)];
}
