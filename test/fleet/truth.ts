// One row that the store must hold, and the queries that read the rows that it does hold in the same words.
// Written before the batch that tells of it is handed on; what a crash cut off in between is in doubt.
import { readFileSync } from 'node:fs';

export type TableName = 'flows' | 'requests';

export interface Truth {
  readonly table: TableName;
  readonly host: string;
  /** Second half of the row's id: what is unique on its host. */
  readonly id: string;
  /** Every fact of the row, in the order of `FACTS`, separated by spaces. */
  readonly facts: string;
}

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
    word('url_path'),
    'lower(hex(trace_id))',
    ns('request_start'),
    plain('network_local_port'),
    plain('connection_id'),
    word('connection'),
    word('attribution_verdict'),
    plain('attribution_depth'),
    word('attribution_reason'),
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
    plain('request_flows'),
  ],
};

const ID: Readonly<Record<TableName, string>> = { flows: 'flow_id', requests: 'request_id' };

/** Rows of one host: id and facts. */
export function storedRowsSql(table: TableName, host: string): string {
  const facts = `concat(${FACTS[table].join(", ' ', ")})`;
  return `SELECT ${half(ID[table])}, ${facts} FROM ${table} WHERE host_name = '${host}' FORMAT TabSeparated`;
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

export function truthLine(truth: readonly Truth[]): string {
  return `${JSON.stringify(truth.map(({ table, id, facts }) => [table, id, facts]))}\n`;
}

export function handedOnLine(): string {
  return `${HANDED_ON}\n`;
}

export interface HostTruth {
  /** By table and id: the facts. */
  readonly certain: ReadonlyMap<string, string>;
  /** Of drains that a crash cut off: stored or not, and if stored, so. */
  readonly doubtful: ReadonlyMap<string, string>;
}

export function readTruth(path: string): HostTruth {
  const certain = new Map<string, string>();
  const doubtful = new Map<string, string>();
  const lines = readFileSync(path, 'utf8').split('\n');
  for (const [n, line] of lines.entries()) {
    if (!line.startsWith('[')) continue;
    const rows = lines[n + 1] === HANDED_ON ? certain : doubtful;
    for (const [table, id, facts] of JSON.parse(line) as [TableName, string, string][])
      rows.set(rowKey(table, id), facts);
  }
  return { certain, doubtful };
}

export function rowKey(table: TableName, id: string): string {
  return `${table} ${id}`;
}
