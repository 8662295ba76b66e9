// What one HTTP request asks of the engine: ClickHouse's HTTP interface as SQL text. Pure.
import { type DataInsert, quote, readDataInsert } from './statement.ts';

export interface EngineRequest {
  /** The `query` parameter; a body completes it. */
  readonly sql: string;
  /** It is this, and the body its data. */
  readonly insert: DataInsert | undefined;
  /** One `SET` statement, or '' when nothing is set. A fresh session runs it, so it ends with the request. */
  readonly settings: string;
  readonly format: string;
  readonly queryId: string;
}
export interface Refusal {
  /** ClickHouse error code and name: clients match on them. */
  readonly code: number;
  readonly message: string;
}

/** Longest time and largest memory and result of one query: what a request asks above it is cut to it. */
export const LIMITS = {
  max_execution_time: 30,
  max_memory_usage: 1024 ** 3,
  max_result_bytes: 256 * 1024 ** 2,
} as const;

/** Parameters of the protocol, not settings. Compression is refused elsewhere: it costs, and saves nothing on loopback. */
const PROTOCOL = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'user',
  'password',
  'role',
  'quota_key',
  'wait_end_of_query',
  'buffer_size',
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'enable_http_compression',
  'add_http_cors_header',
  'http_write_exception_in_output_format',
]);
const UNSUPPORTED = new Set(['session_id', 'compress', 'decompress']);

export function readRequest(method: string, search: URLSearchParams): EngineRequest | Refusal {
  const settings = new Map<string, string>();
  for (const [name, value] of search) {
    if (name === 'database' && value !== 'default')
      return {
        code: 81,
        message: `DB::Exception: There is one database here, 'default'. (UNKNOWN_DATABASE)`,
      };
    if (UNSUPPORTED.has(name))
      return { code: 48, message: `DB::Exception: ${name} is not supported here. (NOT_IMPLEMENTED)` };
    if (PROTOCOL.has(name)) continue;
    if (!/^[A-Za-z_]\w*$/.test(name))
      return { code: 115, message: `DB::Exception: Unknown setting '${name}'. (UNKNOWN_SETTING)` };
    settings.set(name, value);
  }
  for (const [name, most] of Object.entries(LIMITS)) settings.set(name, bounded(settings.get(name), most));
  settings.set('result_overflow_mode', 'throw');
  // As in ClickHouse: GET may not change anything. 2 = settings may still be changed.
  if (method === 'GET' && !settings.has('readonly')) settings.set('readonly', '2');
  const sql = search.get('query') ?? '';
  return {
    sql,
    insert: readDataInsert(sql),
    settings: `SET ${[...settings].map(([name, value]) => `${name} = ${quote(value)}`).join(', ')}`,
    format: search.get('default_format') ?? 'TabSeparated',
    queryId: search.get('query_id') ?? '',
  };
}

/** 0 means "no limit" to ClickHouse, so it is cut too. */
function bounded(asked: string | undefined, most: number): string {
  const value = Number(asked);
  return String(value > 0 && value < most ? value : most);
}
