// Rows through RowBinary, the store and the queries, and back.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LookupQuery } from '../../../schemas/api.ts';
import {
  type FinishedRequest,
  FLOW_COLUMNS,
  FLOW_FIELDS,
  type Flow,
  REQUEST_FIELDS,
} from '../../../schemas/rows.ts';
import { flowsQuery, lookupQuery } from '../../../services/sink/queries.ts';
import {
  decodeRow,
  encodeRowBinary,
  misfit,
  type Row,
  selectColumns,
} from '../../../services/sink/row-binary.ts';
import { FLOWS, REQUESTS, type Table } from '../../../services/sink/schema.ts';
import { openStore, type Store, StoreError } from '../../../services/sink/store-client.ts';
import { startStore, temporaryDir } from './processes.ts';
import { BASE_NS, emptyFlow, emptyRequest, flow, hexOf, request } from './rows.ts';

const { dir, remove } = temporaryDir();
let process: Awaited<ReturnType<typeof startStore>>;
let store: Store;
let blocks = 0;

beforeAll(async () => {
  process = await startStore(dir);
  store = openStore(process.address);
  await store.ensureSchema(7);
});
afterAll(async () => {
  await store.close();
  await process.end('SIGTERM');
  remove();
});

async function insert(table: Table, rows: readonly Row[], seq = 1): Promise<void> {
  expect(misfit(table, rows)).toBeUndefined();
  await store.insertBlock(table, encodeRowBinary(table, [{ rows, seq }]), `test:${++blocks}`);
}

async function lookup(query: Partial<LookupQuery>): Promise<Flow[]> {
  const made = lookupQuery({ v: 1, windowNs: 3_600_000_000_000n, limit: 100, ...query }, BASE_NS);
  if (typeof made === 'string') throw new Error(made);
  return (await store.query(made.sql, made.params)).map((cells) => decodeRow(FLOWS, cells) as Flow);
}

async function last(n: number, range: { sinceNs?: bigint; untilNs?: bigint } = {}): Promise<Flow[]> {
  const { sql, params } = flowsQuery({ v: 1, last: n, ...range });
  return (await store.query(sql, params)).map((cells) => decodeRow(FLOWS, cells) as Flow);
}

const ids = (flows: readonly Flow[]): number[] =>
  flows.map((row) => Number.parseInt(row['flowtag.flow.id']!, 16));

describe('round trip', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 });
  const v4 = fc.ipV4();
  const v6 = fc.ipV6().map((address) => new URL(`http://[${address}]`).hostname.slice(1, -1));
  // WHATWG writes mapped addresses in hexadecimal, we as IPv4; `::` stands for null.
  const ip = fc.oneof(
    v4,
    v6.filter((address) => address !== '::' && !address.startsWith('::ffff:')),
  );
  const digits = (n: number) =>
    fc
      .string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: n, maxLength: n })
      .filter((id) => /[^0]/.test(id));
  const timeNs = fc.bigInt(BASE_NS - 10n ** 14n, BASE_NS + 10n ** 14n);
  const number = (most: number) => fc.integer({ min: 1, max: most });
  const special: Record<string, fc.Arbitrary<unknown>> = {
    'flowtag.flow.id': digits(32),
    'flowtag.request.id': digits(32),
    trace_id: digits(32),
    span_id: digits(16),
    'network.local.address': ip,
    'network.peer.address': ip,
    'network.community_id': fc
      .uint8Array({ minLength: 20, maxLength: 20 })
      .map((bytes) => `1:${Buffer.from(bytes).toString('base64')}`),
    'flowtag.connection.id': fc.bigInt(1n, 2n ** 64n - 1n).map(String),
    'flowtag.attribution.depth': fc.integer({ min: 0, max: 255 }),
    'flowtag.go.goroutine.id': number(Number.MAX_SAFE_INTEGER),
    'flowtag.connect.duration': number(Number.MAX_SAFE_INTEGER),
    'flowtag.request.duration': number(Number.MAX_SAFE_INTEGER),
    'flowtag.request.flows': fc.integer({ min: 0, max: 1_000_000 }),
    'process.pid': number(4_194_304),
    'thread.id': number(4_194_304),
  };
  const rowOf = (fields: readonly string[], types: Readonly<Record<string, string>>, id: string) =>
    fc.record(
      Object.fromEntries(
        fields.map((field) => {
          const kind = types[field];
          const value =
            special[field] ?? (kind === 'time' ? timeNs : kind === 'number' ? number(65_535) : text);
          return [field, field === id || field === 'time' ? value : fc.option(value)];
        }),
      ),
    );

  test('a flow comes back as it went', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(rowOf(FLOW_COLUMNS, FLOW_FIELDS, 'flowtag.flow.id'), { minLength: 1, maxLength: 30 }),
        async (rows) => {
          await store.query('TRUNCATE TABLE flows', {});
          await insert(FLOWS, rows as Flow[]);
          const back = await last(100);
          const order = (all: readonly Row[]) =>
            [...all]
              .map((row) => JSON.stringify(row, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)))
              .sort();
          expect(order(back)).toEqual(order(rows as Row[]));
        },
      ),
      { numRuns: 25 },
    );
  });

  test('a finished request too', async () => {
    const back = async (rows: FinishedRequest[]) => {
      await insert(REQUESTS, rows);
      const sql = `SELECT ${selectColumns(REQUESTS)} FROM requests ORDER BY request_id`;
      return (await store.query(sql, {})).map((cells) => decodeRow(REQUESTS, cells));
    };
    const bare = { ...emptyRequest(), 'flowtag.request.id': hexOf(2), time: BASE_NS };
    const rows = [
      request(1),
      { ...bare },
      request(3, {
        'http.response.status_code': null,
        'error.type': 'aborted',
        'flowtag.request.flows': null,
      }),
    ];
    const sorted = [...rows].sort((a, b) => (a['flowtag.request.id']! < b['flowtag.request.id']! ? -1 : 1));
    expect(await back(rows)).toEqual(sorted);
    expect(Object.keys(sorted[0]!)).toEqual(Object.keys(REQUEST_FIELDS));
  });

  test('every digit of a time, the extremes, and addresses in their canonical text', async () => {
    await store.query('TRUNCATE TABLE flows', {});
    // Recent: what is older than the retention is gone at the next merge.
    const at = BASE_NS + 123_456_789n;
    const rows: [Partial<Flow>, Partial<Flow>][] = [
      [{ 'network.local.address': '2001:DB8:0:0:1:0:0:1' }, { 'network.local.address': '2001:db8::1:0:0:1' }],
      [{ 'network.local.address': '::ffff:10.1.2.3' }, { 'network.local.address': '10.1.2.3' }],
      [{ 'network.local.address': '0.0.0.0' }, { 'network.local.address': '0.0.0.0' }],
      [{ 'network.local.address': '::1' }, { 'network.local.address': '::1' }],
      [{ 'url.path': '' }, { 'url.path': null }],
      [{ 'flowtag.attribution.depth': 0 }, { 'flowtag.attribution.depth': 0 }],
      [{ 'flowtag.attribution.depth': null }, { 'flowtag.attribution.depth': null }],
      [{ 'url.path': `/${'x'.repeat(100_000)}` }, { 'url.path': `/${'x'.repeat(100_000)}` }],
    ];
    await insert(
      FLOWS,
      rows.map(([given], n) => flow(n + 1, { time: at + BigInt(n), ...given })),
    );
    const back = await last(100);
    expect(back).toEqual(rows.map(([, expected], n) => flow(n + 1, { time: at + BigInt(n), ...expected })));
  });
});

describe('look-ups', () => {
  const minute = 60_000_000_000n;
  const bare = (n: number, change: Partial<Flow>): Flow => ({
    ...emptyFlow(),
    'flowtag.flow.id': hexOf(n),
    time: BASE_NS + BigInt(n),
    ...change,
  });
  const between = (local: string, localPort: number, peer: string, peerPort: number): Partial<Flow> => ({
    'network.local.address': local,
    'network.local.port': localPort,
    'network.peer.address': peer,
    'network.peer.port': peerPort,
  });
  const A = { address: '10.0.0.7', port: 40_522 };
  const B = { address: '10.0.0.9', port: 5432 };

  beforeAll(async () => {
    await store.query('TRUNCATE TABLE flows', {});
    await insert(FLOWS, [
      bare(1, { ...between('10.0.0.7', 40_522, '10.0.0.9', 5432), trace_id: hexOf(77), 'url.path': '/a' }),
      bare(2, { ...between('10.0.0.9', 5432, '10.0.0.7', 40_522), 'url.path': '/b' }),
      bare(3, between('10.0.0.7', 40_522, '10.0.0.8', 5432)),
      bare(4, { ...between('10.0.0.7', 40_523, '10.0.0.9', 5432), trace_id: hexOf(77) }),
      // The same local port again, an hour later.
      bare(5, { ...between('10.0.0.7', 40_522, '10.0.0.9', 5432), time: BASE_NS + 60n * minute }),
      bare(6, {
        ...between('2001:db8::7', 40_522, '2001:db8::9', 5432),
        'network.community_id': '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
      }),
    ]);
    await insert(
      FLOWS,
      Array.from({ length: 20_000 }, (_, n) => flow(10_000 + n)),
      2,
    );
  });

  test('by both ends, in either order', async () => {
    const window = { atNs: BASE_NS, windowNs: 5n * minute };
    expect(ids(await lookup({ ends: [A, B], ...window }))).toEqual([1, 2]);
    expect(ids(await lookup({ ends: [B, A], ...window }))).toEqual([1, 2]);
  });

  test('by either end alone', async () => {
    expect(ids(await lookup({ ends: [A], atNs: BASE_NS, windowNs: minute }))).toEqual([1, 2, 3]);
    expect(ids(await lookup({ ends: [{ address: '10.0.0.8', port: 5432 }] }))).toEqual([3]);
  });

  test('at the time of a port that was used again', async () => {
    expect(ids(await lookup({ ends: [A, B], atNs: BASE_NS + 60n * minute, windowNs: 5n * minute }))).toEqual([
      5,
    ]);
    expect(ids(await lookup({ ends: [A, B], atNs: BASE_NS, windowNs: 61n * minute }))).toEqual([1, 2, 5]);
    // When not all are asked for: the last before that time, not the nearest.
    const one = { atNs: BASE_NS + 59n * minute, windowNs: 61n * minute, limit: 1 };
    expect(ids(await lookup({ ends: [A, B], ...one }))).toEqual([2]);
    expect(ids(await lookup({ ends: [A, B], ...one, atNs: BASE_NS + 61n * minute }))).toEqual([5]);
    expect(ids(await lookup({ ends: [A, B], ...one, atNs: BASE_NS - 1n }))).toEqual([1]);
    expect(ids(await lookup({ ends: [A, B], atNs: BASE_NS + 30n * minute, windowNs: minute }))).toEqual([]);
  });

  test('by trace id, path, Community ID; IPv6 and other spellings of an address', async () => {
    expect(ids(await lookup({ traceId: hexOf(77) }))).toEqual([1, 4]);
    expect(ids(await lookup({ path: '/b' }))).toEqual([2]);
    expect(ids(await lookup({ path: "/b' OR 1=1 --" }))).toEqual([]);
    expect(ids(await lookup({ communityId: '1:LQU9qZlK+B5F3KDmev6m5PMibrg=' }))).toEqual([6]);
    expect(ids(await lookup({ ends: [{ address: '2001:DB8:0::7', port: 40_522 }] }))).toEqual([6]);
    expect(ids(await lookup({ ends: [{ address: '::ffff:10.0.0.8', port: 5432 }] }))).toEqual([3]);
  });

  test('the newest, oldest first, inside a range', async () => {
    expect(ids(await last(1))).toEqual([5]);
    expect(ids(await last(3, { untilNs: BASE_NS + 4n }))).toEqual([2, 3, 4]);
    expect(ids(await last(100, { sinceNs: BASE_NS + minute }))).toEqual([5]);
    expect(ids(await last(100, { sinceNs: -5n, untilNs: 10n }))).toEqual([]);
    expect(await last(10_000)).toHaveLength(10_000);
  });

  test('ids that are there', async () => {
    const asked = [1, 2, 999_999, 10_005].map((n) => hexOf(n));
    const found = await store.existingIds(FLOWS, asked, BASE_NS, BASE_NS + 70n * minute);
    expect([...found].sort()).toEqual([1, 2, 10_005].map((n) => hexOf(n)));
    const many = Array.from({ length: 12_000 }, (_, n) => hexOf(10_000 + n));
    expect((await store.existingIds(FLOWS, many, BASE_NS, BASE_NS + 70n * minute)).size).toBe(12_000);
  });

  test('up to which message rows are there', async () => {
    expect(await store.storedUpto(1, 100)).toBe(2);
    expect(await store.storedUpto(1, 1)).toBe(1);
    expect(await store.storedUpto(3, 100)).toBe(0);
  });

  test('indexes narrow a look-up down', async () => {
    const made = lookupQuery(
      { v: 1, ends: [A, { address: '10.0.0.8', port: 5432 }], windowNs: 90n * minute, limit: 10 },
      BASE_NS,
    );
    if (typeof made === 'string') throw new Error(made);
    const plan = (await store.query(`EXPLAIN indexes = 1 ${made.sql}`, made.params))
      .map(([line]) => line)
      .join('\n');
    expect(plan).toMatch(/ix_ends[\s\S]*Granules: 1\/\d/);
  });
});

test('a schema that is there is left as it is; another retention is applied', async () => {
  await store.ensureSchema(7);
  await store.ensureSchema(30);
  const [row] = await store.query('SHOW CREATE TABLE flows', {});
  expect(row![0]).toMatch(/toIntervalDay\(30\)/);
});

test('errors say what happened', async () => {
  await expect(store.query('SELECT nope', {})).rejects.toMatchObject({
    code: 'STORE_FAILED',
    message: expect.stringMatching(/nope/),
  });
  const nowhere = openStore({ url: 'http://127.0.0.1:9', user: 'x', password: '' });
  await expect(nowhere.query('SELECT 1', {})).rejects.toBeInstanceOf(StoreError);
  await expect(nowhere.query('SELECT 1', {})).rejects.toMatchObject({ code: 'STORE_AWAY' });
  await nowhere.close();
});
