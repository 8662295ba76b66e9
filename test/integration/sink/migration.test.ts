// A data directory of an earlier version: nothing that is stored is lost, and what this version adds can be stored.
import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { flowsQuery } from '../../../services/sink/queries.ts';
import { decodeRow, encodeRowBinary, type Row } from '../../../services/sink/row-binary.ts';
import { FLOWS, missingColumns, type Table } from '../../../services/sink/schema.ts';
import { openStore, type Store } from '../../../services/sink/store-client.ts';
import { startStore, temporaryDir } from './processes.ts';
import { flow } from './rows.ts';

/** What 0.1.0 had made of the table, to the letter. */
const OLD_DDL = readFileSync(new URL('flows-0.1.0.sql', import.meta.url), 'utf8');
const OLD_FLOWS: Table = {
  ...FLOWS,
  columns: FLOWS.columns.filter(({ name }) => OLD_DDL.includes(` ${name} `)),
};

const { dir, remove } = temporaryDir();
afterAll(remove);

async function withStore(work: (store: Store) => Promise<void>): Promise<void> {
  const process = await startStore(dir);
  const store = openStore(process.address);
  try {
    await work(store);
  } finally {
    await store.close();
    await process.end('SIGTERM');
  }
}

const insert = (store: Store, table: Table, row: Row, token: string) =>
  store.insertBlock(table, encodeRowBinary(table, [{ rows: [row], seq: 1 }]), token);

test('gets the new columns, once, and keeps its rows', async () => {
  const added = {
    'code.function.name': 'main.call',
    'code.stacktrace': 'main.call\n\t/src/main.go:12\n',
    'flowtag.request.handler': 'main.handle',
  };
  await withStore(async (store) => {
    await store.query(OLD_DDL, {});
    await insert(store, OLD_FLOWS, flow(1), 'old');
  });
  const columns = async (store: Store) => {
    const [row] = await store.query('SHOW CREATE TABLE flows', {});
    return String(row![0]);
  };
  let shown = '';
  await withStore(async (store) => {
    expect(missingColumns(FLOWS, await columns(store)).map(({ name }) => name)).toEqual([
      'k8s_namespace_name',
      'k8s_pod_name',
      'k8s_pod_uid',
      'code_stacktrace',
      'request_handler',
    ]);
    await store.ensureSchema(7);
    shown = await columns(store);
    expect(missingColumns(FLOWS, shown)).toEqual([]);
    await insert(store, FLOWS, flow(2, added), 'new');
  });
  await withStore(async (store) => {
    await store.ensureSchema(7);
    expect(await columns(store)).toBe(shown);
    const { sql, params } = flowsQuery({ v: 1, last: 10 });
    const stored = (await store.query(sql, params)).map((cells) => decodeRow(FLOWS, cells));
    expect(stored).toEqual([flow(1), flow(2, added)]);
  });
});
