// One row that the store must hold, and the queries that read the rows that it does hold in the same words.
// Written before the batch that tells of it is handed on; what a crash cut off in between is in doubt.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type TableName = 'flows' | 'requests';

export interface Truth {
  readonly table: TableName;
  readonly host: string;
  /** Second half of the row's id: what is unique on its host. */
  readonly id: string;
  /** What its own event says, in the order of `FACTS`, separated by spaces. */
  readonly facts: string;
  /** What other events say of it: the request that caused a flow, the number of flows that a request caused. */
  readonly joined: string;
}

/** Of a flow whose request's start did not arrive before it: the row says so. */
export const LOST_EVENT = `- ${'0'.repeat(32)} 0 none 65535 lost_event`;

const ns = (column: string) => `toString(toUnixTimestamp64Nano(${column}))`;
const half = (column: string) => `lower(hex(substring(${column}, 9, 8)))`;
const word = (column: string) => `if(${column} = '', '-', toString(${column}))`;
const plain = (column: string) => `toString(${column})`;

/** As SQL over the columns of the store. */
const FACTS: Readonly<Record<TableName, readonly string[]>> = {
  flows: [
    ns('time'),
    plain('process_pid'),
    word('service_name'),
    plain('thread_id'),
    plain('go_goroutine_id'),
    half('request_id'),
    plain('network_local_port'),
    plain('connection_id'),
    word('connection'),
    word('code_function_name'),
  ],
  requests: [
    ns('time'),
    plain('process_pid'),
    word('service_name'),
    word('http_request_method'),
    word('url_path'),
    ns('request_start'),
    plain('request_duration'),
    plain('http_response_status_code'),
  ],
};
const JOINED: Readonly<Record<TableName, readonly string[]>> = {
  flows: [
    word('url_path'),
    'lower(hex(trace_id))',
    ns('request_start'),
    word('attribution_verdict'),
    plain('attribution_depth'),
    word('attribution_reason'),
  ],
  requests: [plain('request_flows')],
};

const ID: Readonly<Record<TableName, string>> = { flows: 'flow_id', requests: 'request_id' };

/** Rows of one host: id, facts and what is joined. */
export function storedRowsSql(table: TableName, host: string): string {
  const columns = [FACTS, JOINED].map((of) => `concat('', ${of[table].join(", ' ', ")})`);
  return `SELECT ${half(ID[table])}, ${columns.join(', ')} FROM ${table} WHERE host_name = '${host}' FORMAT TabSeparated`;
}

/** Rows beyond one for each id, over everything that is stored. */
export function surplusSql(table: TableName): string {
  return `SELECT count() - uniqExact(${ID[table]}) FROM ${table} FORMAT TabSeparated`;
}

/** Stored rows of each host whose name begins so. */
export function countsSql(prefix: string): string {
  const of = (table: TableName) =>
    `SELECT host_name, count() AS n FROM ${table} WHERE startsWith(host_name, '${prefix}') GROUP BY host_name`;
  return `SELECT host_name, sum(n) FROM (${of('flows')} UNION ALL ${of('requests')}) GROUP BY host_name FORMAT TabSeparated`;
}

/** One drain as a line: its rows; or that the rows of the line before were handed on. */
const HANDED_ON = '.';

export function truthPath({ dir }: { readonly dir: string }): string {
  return join(dir, 'truth');
}

export function truthLine(truth: readonly Truth[]): string {
  return `${JSON.stringify(truth.map(({ table, id, facts, joined }) => [table, id, facts, joined]))}\n`;
}

export function handedOnLine(): string {
  return `${HANDED_ON}\n`;
}

export type Told = Omit<Truth, 'host'>;

export interface HostTruth {
  /** By table and id. */
  readonly certain: ReadonlyMap<string, Told>;
  /** Of drains that a crash cut off: stored or not, and if stored, so. */
  readonly doubtful: ReadonlyMap<string, Told>;
}

export function readTruth(path: string): HostTruth {
  const certain = new Map<string, Told>();
  const doubtful = new Map<string, Told>();
  const lines = readFileSync(path, 'utf8').split('\n');
  for (const [n, line] of lines.entries()) {
    if (!line.startsWith('[')) continue;
    const told = lines[n + 1] === HANDED_ON ? certain : doubtful;
    for (const [table, id, facts, joined] of JSON.parse(line) as [TableName, string, string, string][])
      told.set(rowKey(table, id), { table, id, facts, joined });
  }
  return { certain, doubtful };
}

export function rowKey(table: TableName, id: string): string {
  return `${table} ${id}`;
}
