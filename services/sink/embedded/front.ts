// ClickHouse's HTTP interface on loopback, in front of the embedded engine: sink, look-ups, Grafana and curl all speak it.
// Not here, and refused where asked for: sessions, compression, results while they are computed, cancelling on disconnect.
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Engine, EngineAnswer } from './engine.ts';
import { engineProblem, type HttpProblem, problem } from './engine-error.ts';
import { Lane, LaneFullError } from './lane.ts';
import { type EngineRequest, readRequest } from './request.ts';
import { BodyTooLargeError, readText, spool } from './request-body.ts';
import { type DataInsert, insertFromFile, isRead } from './statement.ts';

export interface FrontOptions {
  readonly engine: Engine;
  /** Bodies of INSERTs pass through files here. */
  readonly spoolDir: string;
  readonly user: string;
  readonly password: string;
}

const SQL_BYTES_MAX = 4 * 1024 ** 2;
const INSERT_BYTES_MAX = 256 * 1024 ** 2;
/** Query parameters travel in the URL: room for a path of 4096 characters, percent-encoded. */
const HEADER_BYTES_MAX = 128 * 1024;

/** Not listening yet. */
export function createFront(options: FrontOptions): Server {
  const reads = new Lane(2, 64);
  const writes = new Lane(1, 64);
  const server = createServer(
    { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: 60_000 },
    (request, response) => {
      answer(options, reads, writes, request, response).catch((error) => {
        // Only a fault of this file ends here: the client must not be left waiting.
        response.destroy(error as Error);
      });
    },
  );
  return server;
}

async function answer(
  options: FrontOptions,
  reads: Lane,
  writes: Lane,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedNs = process.hrtime.bigint();
  const url = new URL(request.url ?? '/', 'http://store');
  if (url.pathname === '/ping') return void response.end('Ok.\n');
  const refused = refuse(options, request, url);
  if (refused) return sendProblem(request, response, refused);
  const asked = readRequest(request.method ?? 'POST', url.searchParams);
  if ('code' in asked) return sendProblem(request, response, problem(asked.code, asked.message));
  try {
    const result = await execute(options, reads, writes, request, asked);
    send(response, asked, result, startedNs);
  } catch (error) {
    sendProblem(request, response, problemOf(error));
  }
}

function refuse(options: FrontOptions, request: IncomingMessage, url: URL): HttpProblem | undefined {
  const given = credentials(request, url.searchParams);
  if (!same(given.user, options.user) || !same(given.password, options.password))
    return problem(
      516,
      `DB::Exception: ${given.user}: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)`,
    );
  if (url.pathname !== '/')
    return problem(48, `DB::Exception: There is no ${url.pathname} here. (NOT_IMPLEMENTED)`);
  if ((request.headers['content-encoding'] ?? 'identity') !== 'identity')
    return problem(48, 'DB::Exception: Compressed requests are not supported here. (NOT_IMPLEMENTED)');
  return undefined;
}

async function execute(
  options: FrontOptions,
  reads: Lane,
  writes: Lane,
  request: IncomingMessage,
  asked: EngineRequest,
): Promise<EngineAnswer & { readonly inserted: boolean }> {
  if (asked.insert) return insert(options, writes, request, asked, asked.insert);
  const body = await readText(request, SQL_BYTES_MAX);
  const sql = asked.sql && body ? `${asked.sql}\n${body}` : asked.sql || body;
  if (sql.trim() === '') throw new Error('Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)');
  const lane = isRead(sql) ? reads : writes;
  return {
    ...(await lane.run(() => options.engine.run(asked.settings, sql, asked.format))),
    inserted: false,
  };
}

async function insert(
  { engine, spoolDir }: FrontOptions,
  writes: Lane,
  request: IncomingMessage,
  { settings, format }: EngineRequest,
  statement: DataInsert,
): Promise<EngineAnswer & { readonly inserted: boolean }> {
  const file = await spool(request, spoolDir, INSERT_BYTES_MAX);
  try {
    // The engine refuses an empty file; ClickHouse takes an empty INSERT for done.
    if (file.bytes === 0) return { bytes: new Uint8Array(), rowsRead: 0, bytesRead: 0, inserted: true };
    const result = await writes.run(() => engine.run(settings, insertFromFile(statement, file.path), format));
    // It does not always say so when it found no file (seen with patterns): data must never be lost in silence.
    if (result.rowsRead === 0)
      throw new Error(
        `Code: 107. DB::Exception: The engine read no row of ${file.bytes} bytes. (FILE_DOESNT_EXIST)`,
      );
    return { ...result, inserted: true };
  } finally {
    file.close();
  }
}

function send(
  response: ServerResponse,
  asked: EngineRequest,
  result: EngineAnswer & { readonly inserted: boolean },
  startedNs: bigint,
): void {
  const summary = {
    read_rows: String(result.rowsRead),
    read_bytes: String(result.bytesRead),
    written_rows: result.inserted ? String(result.rowsRead) : '0',
    written_bytes: result.inserted ? String(result.bytesRead) : '0',
    total_rows_to_read: '0',
    result_rows: '0',
    result_bytes: String(result.bytes.length),
    elapsed_ns: String(process.hrtime.bigint() - startedNs),
  };
  response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
  response.setHeader('X-ClickHouse-Summary', JSON.stringify(summary));
  response.setHeader('X-ClickHouse-Format', asked.format);
  response.setHeader('X-ClickHouse-Timezone', 'UTC');
  if (asked.queryId !== '') response.setHeader('X-ClickHouse-Query-Id', headerText(asked.queryId));
  response.end(result.bytes);
}

function sendProblem(request: IncomingMessage, response: ServerResponse, refusal: HttpProblem): void {
  request.resume();
  response.statusCode = refusal.status;
  response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
  response.setHeader('X-ClickHouse-Exception-Code', String(refusal.code));
  // A body left unread would be taken for the next request.
  if (!request.complete) response.setHeader('Connection', 'close');
  response.end(refusal.body);
}

function problemOf(error: unknown): HttpProblem {
  if (error instanceof LaneFullError)
    return problem(202, `DB::Exception: ${error.message}. (TOO_MANY_SIMULTANEOUS_QUERIES)`);
  if (error instanceof BodyTooLargeError)
    return problem(223, `DB::Exception: ${error.message}. (LIMIT_EXCEEDED)`);
  return engineProblem(error);
}

function credentials(request: IncomingMessage, search: URLSearchParams): { user: string; password: string } {
  const basic = /^Basic (.+)$/i.exec(request.headers.authorization ?? '');
  if (basic) {
    const text = Buffer.from(basic[1]!, 'base64').toString();
    const colon = text.indexOf(':');
    return { user: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  const header = (name: string) => request.headers[name]?.toString();
  return {
    user: header('x-clickhouse-user') ?? search.get('user') ?? 'default',
    password: header('x-clickhouse-key') ?? search.get('password') ?? '',
  };
}

function same(given: string, right: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(right);
  return a.length === b.length && timingSafeEqual(a, b);
}

function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 128);
}
