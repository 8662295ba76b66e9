// Contract of the store's HTTP front, as ClickHouse's own client uses it.
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createFront } from '../../../services/sink/embedded/front.ts';
import { freePort } from '../../support/nats-server.ts';
import { run, startStore, storeAddress, temporaryDir, until } from './processes.ts';

const { dir: parent, remove } = temporaryDir();
// Characters that mean something to a shell, to SQL or to the engine's patterns.
const dir = join(parent, "we ird/{a,b}*?[x]'$(x)");
let store: Awaited<ReturnType<typeof startStore>>;
let client: ClickHouseClient;

beforeAll(async () => {
  store = await startStore(dir);
  client = connect();
});
afterAll(async () => {
  await client.close();
  await store.end('SIGTERM');
  remove();
});

function connect(change: { password?: string } = {}): ClickHouseClient {
  const { url, user, password } = store.address;
  return createClient({ url, username: user, password, log: { level: ClickHouseLogLevel.OFF }, ...change });
}

async function rows<T>(query: string, params: Record<string, unknown> = {}): Promise<T[]> {
  const result = await client.query({ query, query_params: params, format: 'JSONEachRow' });
  return result.json<T>();
}

async function insert(query: string, body: Buffer): Promise<void> {
  const { stream } = await client.exec({ query, values: Readable.from([body], { objectMode: false }) });
  for await (const _ of stream);
}

const refusal = (work: Promise<unknown>): Promise<{ code: string; type: string | undefined }> =>
  work.then(
    () => Promise.reject(new Error('was not refused')),
    (error) => {
      expect(error).toBeInstanceOf(ClickHouseError);
      return { code: error.code, type: error.type };
    },
  );

describe('queries', () => {
  test('ping', async () => {
    expect(await client.ping()).toMatchObject({ success: true });
  });

  test('parameters of every type in use come back as they went', async () => {
    const text = 'o\'x\t\n\\ y "`;-- {a:UInt32} \u0000\u202e ☃ 𝄞';
    const given = {
      u16: 65_535,
      u32: 4_294_967_295,
      i64: '1763792800123456789',
      text,
      at: 1_763_792_800_123_456_789n,
    };
    const [row] = await rows(
      `SELECT {u16:UInt16} AS u16, {u32:UInt32} AS u32, toString({i64:Int64}) AS i64, {text:String} AS text,
        toString(toUnixTimestamp64Nano(fromUnixTimestamp64Nano({at:Int64}, 'UTC'))) AS at`,
      given,
    );
    expect(row).toEqual({ ...given, at: String(given.at) });
  });

  test('a parameter as long as the longest path', async () => {
    const path = `/${'ü'.repeat(4095)}`;
    expect(await rows('SELECT {path:String} AS path', { path })).toEqual([{ path }]);
  });

  test('settings end with their request, also when many run at once', async () => {
    const asked = Array.from({ length: 40 }, async (_, i) => {
      const result = await client.query({
        query: "SELECT getSetting('max_block_size') AS size",
        format: 'JSONEachRow',
        ...(i % 2 === 0 ? { clickhouse_settings: { max_block_size: String(1000 + i) } } : {}),
      });
      const [row] = await result.json<{ size: number | string }>();
      return Number(row!.size);
    });
    const sizes = await Promise.all(asked);
    const fallback = sizes[1]!;
    expect(fallback).toBeGreaterThan(2000);
    expect(sizes).toEqual(sizes.map((_, i) => (i % 2 === 0 ? 1000 + i : fallback)));
  });

  test('GET may not change anything', async () => {
    const { url, user, password } = store.address;
    const query = encodeURIComponent('CREATE TABLE got (n UInt8) ENGINE = Memory');
    const response = await fetch(`${url}/?query=${query}`, {
      headers: { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password },
    });
    expect(response.status).toBe(500);
    expect(await response.text()).toMatch(/READONLY/);
  });
});

describe('inserts', () => {
  test('RowBinary with any bytes, DDL, and a token that stores a block once', async () => {
    await client.command({
      query: `CREATE TABLE blocks (n UInt32, b String) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100`,
    });
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const row = (n: number) => Buffer.concat([Buffer.from([n, 0, 0, 0, 0x80, 0x02]), every]);
    const into = (token: string) =>
      `INSERT INTO blocks (n, b) SETTINGS insert_deduplication_token = '${token}' FORMAT RowBinary`;
    for (const token of ['a', 'a', 'b']) await insert(into(token), Buffer.concat([row(1), row(2)]));
    expect(await rows('SELECT n, count() AS c, any(hex(b)) AS b FROM blocks GROUP BY n ORDER BY n')).toEqual(
      [1, 2].map((n) => ({ n, c: expect.anything(), b: every.toString('hex').toUpperCase() })),
    );
    expect(await rows('SELECT toUInt32(count()) AS c FROM blocks')).toEqual([{ c: 4 }]);
  });

  test('the token of one request is not the token of the next', async () => {
    await client.command({
      query: `CREATE TABLE tokens (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100`,
    });
    const body = (n: number) => Buffer.from([n, 0, 0, 0]);
    await Promise.all(
      Array.from({ length: 60 }, (_, n) => {
        const settings = n % 2 ? '' : `SETTINGS insert_deduplication_token = 't${n % 20}'`;
        return insert(`INSERT INTO tokens ${settings} FORMAT RowBinary`, body(n));
      }),
    );
    // 30 without a token, and one for each of the 10 tokens.
    expect(await rows('SELECT toUInt32(count()) AS c FROM tokens')).toEqual([{ c: 40 }]);
  });

  test('JSON rows of the client, an empty insert, and an inline one', async () => {
    await client.command({ query: 'CREATE TABLE json (n UInt32, s String) ENGINE = MergeTree ORDER BY n' });
    await client.insert({ table: 'json', values: [{ n: 1, s: "a'b" }], format: 'JSONEachRow' });
    await insert('INSERT INTO json FORMAT RowBinary', Buffer.alloc(0));
    await client.command({ query: "INSERT INTO json VALUES (2, 'x FORMAT y')" });
    expect(await rows('SELECT * FROM json ORDER BY n')).toEqual([
      { n: 1, s: "a'b" },
      { n: 2, s: 'x FORMAT y' },
    ]);
  });

  test('a block with a broken row is refused whole', async () => {
    await client.command({ query: 'CREATE TABLE broken (n UInt32) ENGINE = MergeTree ORDER BY n' });
    const cut = insert('INSERT INTO broken FORMAT RowBinary', Buffer.from([1, 0, 0, 0, 2, 0]));
    expect(await refusal(cut)).toMatchObject({ type: 'CANNOT_READ_ALL_DATA' });
    expect(await rows('SELECT toUInt32(count()) AS c FROM broken')).toEqual([{ c: 0 }]);
  });
});

describe('errors', () => {
  test.each([
    ['SELEC 1', 'SYNTAX_ERROR'],
    ['SELECT * FROM nope', 'UNKNOWN_TABLE'],
    ['SELECT nope', 'UNKNOWN_IDENTIFIER'],
    ['SELECT {x:UInt8}', 'UNKNOWN_QUERY_PARAMETER'],
    ["SELECT throwIf(1, 'boom')", 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
  ])('%s', async (query, type) => {
    expect(await refusal(rows(query))).toMatchObject({ type });
  });

  test('a query has an end, whatever time it asks for', async () => {
    const query = client.query({
      query: 'SELECT sum(sipHash64(number)) FROM numbers(1000000000000)',
      clickhouse_settings: { max_execution_time: 1 },
    });
    expect(await refusal(query)).toMatchObject({ type: 'TIMEOUT_EXCEEDED' });
  });

  test('a result has an end', async () => {
    const query = rows("SELECT repeat('x', 1000000) FROM numbers(100000) SETTINGS max_execution_time = 20");
    expect((await refusal(query)).type).toMatch(/TOO_MANY_ROWS_OR_BYTES|MEMORY_LIMIT_EXCEEDED/);
  });

  test('unknown setting, wrong password, sessions, compression, other databases', async () => {
    const setting = client.query({
      query: 'SELECT 1',
      clickhouse_settings: { nope: 1 } as Record<string, number>,
    });
    expect(await refusal(setting)).toMatchObject({ type: 'UNKNOWN_SETTING' });
    const stranger = connect({ password: 'wrong' });
    expect(await refusal(stranger.query({ query: 'SELECT 1' }))).toMatchObject({
      type: 'AUTHENTICATION_FAILED',
    });
    await stranger.close();
    const session = client.query({ query: 'SELECT 1', session_id: 'x' });
    expect(await refusal(session)).toMatchObject({ type: 'NOT_IMPLEMENTED' });
    const { url, user, password } = store.address;
    const auth = { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password };
    const zipped = await fetch(url, {
      method: 'POST',
      body: 'x',
      headers: { ...auth, 'Content-Encoding': 'gzip' },
    });
    expect([zipped.status, await zipped.text()]).toEqual([501, expect.stringMatching(/NOT_IMPLEMENTED/)]);
    const other = await fetch(`${url}/?database=other`, { method: 'POST', body: 'SELECT 1', headers: auth });
    expect(other.headers.get('x-clickhouse-exception-code')).toBe('81');
  });

  test('an engine that reads nothing is not believed', async () => {
    const engine = {
      version: '1',
      close: () => {},
      run: async () => ({ bytes: new Uint8Array(), rowsRead: 0, bytesRead: 0 }),
    };
    const front = createFront({ engine, spoolDir: parent, user: 'u', password: 'p' }).listen(0, '127.0.0.1');
    await once(front, 'listening');
    const url = `http://127.0.0.1:${(front.address() as AddressInfo).port}/?user=u&password=p&query=INSERT%20INTO%20t%20FORMAT%20TSV`;
    const answered = await fetch(url, { method: 'POST', body: '1' });
    expect([answered.status, await answered.text()]).toEqual([
      500,
      expect.stringMatching(/read no row of 1 bytes/),
    ]);
    front.close();
  });

  test('a body of SQL has an end', async () => {
    const { url, user, password } = store.address;
    const headers = { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password };
    const sent = fetch(url, { method: 'POST', body: `SELECT ${'1'.repeat(5_000_000)}`, headers });
    // The answer may be lost when the connection is cut under what is still being sent.
    const status = await sent.then(({ status }) => status).catch(() => 'cut');
    expect([413, 'cut']).toContain(status);
    expect(await client.ping()).toMatchObject({ success: true });
  });
});

test('twenty queries at once, and slow reads do not hold up an insert', async () => {
  await client.command({ query: 'CREATE TABLE busy (n UInt32) ENGINE = MergeTree ORDER BY n' });
  const slow = Array.from({ length: 4 }, () =>
    client
      .query({
        query: 'SELECT sum(sipHash64(number)) FROM numbers(1000000000000)',
        clickhouse_settings: { max_execution_time: 2 },
      })
      .catch(() => {}),
  );
  const startMs = performance.now();
  await insert('INSERT INTO busy FORMAT RowBinary', Buffer.from([1, 0, 0, 0]));
  expect(performance.now() - startMs).toBeLessThan(1_900);
  await Promise.all(slow);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => rows('SELECT {n:UInt32} AS n', { n })),
  );
  expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => [{ n }]));
});

describe('the process', () => {
  test('its password is readable by its owner only, and its spool is empty', () => {
    expect(statSync(join(dir, 'store/endpoint.json')).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(join(dir, 'store/endpoint.json'), 'utf8'))).toMatchObject({
      pid: store.pid,
    });
    expect(readdirSync(join(dir, 'store/spool'))).toEqual([]);
  });

  test('a second one on the same directory says so and ends', async () => {
    const second = run('store', ['--data-dir', dir, '--port-file', join(dir, 'second.json')]);
    const code = await until('the second to end', () => second.child.exitCode ?? undefined);
    expect(code).toBe(1);
    expect(second.log()).toMatch(/STORE_LOCKED.*is in use by process \d+/);
  });

  test('answers where it is told to, with the password it is given, after a restart too', async () => {
    const own = temporaryDir();
    onTestFinished(own.remove);
    const passwordFile = join(own.dir, 'password');
    writeFileSync(passwordFile, 'secret of a test\n');
    const listen = `127.0.0.1:${await freePort()}`;
    for (let start = 0; start < 2; start++) {
      const args = ['--data-dir', own.dir, '--listen', listen, '--password-file', passwordFile];
      const shared = run('store', args);
      const { url } = await storeAddress(own.dir, shared);
      expect(url).toBe(`http://${listen}`);
      const ask = (key: string) =>
        fetch(url, {
          method: 'POST',
          body: 'SELECT 1',
          headers: { 'X-ClickHouse-User': 'flowtag', 'X-ClickHouse-Key': key },
        });
      expect(await (await ask('secret of a test')).text()).toBe('1\n');
      expect((await ask('another')).ok).toBe(false);
      await shared.end('SIGKILL');
    }
  });

  test('a crash signal ends it at once', async () => {
    const own = temporaryDir();
    onTestFinished(own.remove);
    const victim = await startStore(own.dir);
    const startMs = performance.now();
    expect(await victim.end('SIGSEGV')).toBe('SIGSEGV');
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });
});
