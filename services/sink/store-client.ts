// What the sink asks of a ClickHouse, embedded or not: the only import of its client.
import { Readable } from 'node:stream';
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { FlowtagError } from '../runtime/errors.ts';
import type { StoreAddress } from './embedded/store-address.ts';
import { existingIds, storedUpto } from './queries.ts';
import { insertColumns } from './row-binary.ts';
import {
  addColumns,
  alterRetention,
  createTable,
  missingColumns,
  TABLES,
  type Table,
  ttl,
} from './schema.ts';

/** The store did not do what was asked; `code` is STORE_AWAY when it was not reached, STORE_FAILED when it refused. */
export class StoreError extends FlowtagError {}

export type Params = Readonly<Record<string, string | number | bigint>>;
export type Cells = readonly (string | number)[];

export interface Store {
  /** Makes the tables, or brings those of an earlier version up to date. */
  ensureSchema(retentionDays: number): Promise<void>;
  /** Resolves when the rows are durable. The same token again stores nothing: a retry is safe. */
  insertBlock(table: Table, rowBinary: Uint8Array, token: string): Promise<void>;
  /** Those of `ids` that the table has in this span of time, both ends included. */
  existingIds(table: Table, ids: readonly string[], fromNs: bigint, uptoNs: bigint): Promise<Set<string>>;
  /** Highest sequence of these of which rows are stored; 0 when there is none. */
  storedUpto(fromSeq: number, uptoSeq: number): Promise<number>;
  query(sql: string, params: Params): Promise<Cells[]>;
  close(): Promise<void>;
}

const TIMEOUT_MS = 60_000;
/** An id is some 45 bytes of SQL, and `max_query_size` is 256 KiB. */
const IDS_PER_QUERY = 4_000;

export function openStore(address: StoreAddress): Store {
  const client = createClient({
    url: address.url,
    username: address.user,
    password: address.password,
    application: 'flowtag',
    request_timeout: TIMEOUT_MS,
    max_open_connections: 8,
    log: { level: ClickHouseLogLevel.OFF },
    // 64-bit numbers as JSON numbers would lose digits.
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
  });
  return new HttpStore(client, address.url);
}

class HttpStore implements Store {
  private readonly client: ClickHouseClient;
  private readonly url: string;

  constructor(client: ClickHouseClient, url: string) {
    this.client = client;
    this.url = url;
  }

  async ensureSchema(retentionDays: number): Promise<void> {
    for (const table of TABLES) {
      await this.attempt(() => this.client.command({ query: createTable(table, retentionDays) }));
      const [row] = await this.query(`SHOW CREATE TABLE ${table.name}`, {});
      const shown = String(row?.[0]);
      const missing = missingColumns(table, shown);
      if (missing.length > 0)
        await this.attempt(() => this.client.command({ query: addColumns(table, missing) }));
      if (!shown.includes(ttl(retentionDays)))
        await this.attempt(() => this.client.command({ query: alterRetention(table, retentionDays) }));
    }
  }

  async insertBlock(table: Table, rowBinary: Uint8Array, token: string): Promise<void> {
    // In the text of the INSERT, so that it is this query's alone. Times far apart mean many partitions: not a reason to refuse.
    const settings = `insert_deduplicate = 1, insert_deduplication_token = '${token}', throw_on_max_partitions_per_insert_block = 0`;
    const query = `INSERT INTO ${table.name} (${insertColumns(table)}) SETTINGS ${settings} FORMAT RowBinary`;
    const values = Readable.from([rowBinary], { objectMode: false });
    await this.attempt(async () => {
      const { stream } = await this.client.exec({ query, values });
      for await (const _ of stream);
    });
  }

  async existingIds(
    table: Table,
    ids: readonly string[],
    fromNs: bigint,
    uptoNs: bigint,
  ): Promise<Set<string>> {
    const found = new Set<string>();
    for (let at = 0; at < ids.length; at += IDS_PER_QUERY) {
      const { sql, params } = existingIds(table, ids.slice(at, at + IDS_PER_QUERY), fromNs, uptoNs);
      for (const [id] of await this.query(sql, params)) found.add(id as string);
    }
    return found;
  }

  async storedUpto(fromSeq: number, uptoSeq: number): Promise<number> {
    const { sql, params } = storedUpto(fromSeq, uptoSeq);
    const [row] = await this.query(sql, params);
    return Number(row![0]);
  }

  query(sql: string, params: Params): Promise<Cells[]> {
    return this.attempt(async () => {
      const result = await this.client.query({
        query: sql,
        query_params: params,
        format: 'JSONCompactEachRow',
      });
      return await result.json<Cells>();
    });
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private async attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof ClickHouseError)
        throw new StoreError('STORE_FAILED', `The store refused: ${message} (${error.type})`, {
          cause: error,
        });
      throw new StoreError('STORE_AWAY', `The store at ${this.url} was not reached: ${message}`, {
        cause: error,
      });
    }
  }
}
