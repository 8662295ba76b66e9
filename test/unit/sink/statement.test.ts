import { expect, test } from 'vitest';
import { insertFromFile, isRead, quote, readDataInsert } from '../../../services/sink/embedded/statement.ts';

test.each([
  ['INSERT INTO t FORMAT RowBinary', "INSERT INTO t FROM INFILE 'f' FORMAT RowBinary"],
  ['insert into db.t format JSONEachRow;\n ', "insert into db.t FROM INFILE 'f' format JSONEachRow"],
  ['INSERT INTO TABLE t (a, `b c`) FORMAT TSV', "INSERT INTO TABLE t (a, `b c`) FROM INFILE 'f' FORMAT TSV"],
  [
    "INSERT INTO t (a) SETTINGS x = 'FORMAT y', z = 1 FORMAT RowBinary",
    "INSERT INTO t (a) FROM INFILE 'f' SETTINGS x = 'FORMAT y', z = 1 FORMAT RowBinary",
  ],
  ['INSERT INTO `odd\\`name`."x" FORMAT CSV', 'INSERT INTO `odd\\`name`."x" FROM INFILE \'f\' FORMAT CSV'],
])('%s', (sql, expected) => {
  expect(insertFromFile(readDataInsert(sql)!, 'f').replace(/ +/g, ' ')).toBe(expected);
});

test.each([
  'INSERT INTO `odd``name` FORMAT CSV',
  'INSERT INTO t VALUES (1)',
  'INSERT INTO t SELECT 1 FORMAT Null',
  "INSERT INTO t (a) VALUES ('FORMAT x')",
  'INSERT INTO t SETTINGSX = 1 FORMAT x',
  'SELECT 1 FORMAT JSON',
  '',
])('%s brings no data of its own', (sql) => {
  expect(readDataInsert(sql)).toBeUndefined();
});

test.each([
  ['SELECT 1', true],
  ['  -- why\n (select 1)', true],
  ['WITH 1 AS x SELECT x', true],
  ['EXPLAIN SELECT 1', true],
  ['INSERT INTO t SELECT 1', false],
  ['CREATE TABLE selected (n UInt8) ENGINE = Memory', false],
  ['', false],
])('%s reads: %s', (sql, expected) => {
  expect(isRead(sql)).toBe(expected);
});

test.each([
  `INSERT INTO t (${'a, '.repeat(100_000)}`,
  `INSERT INTO t ${' '.repeat(400_000)}x`,
  `${' '.repeat(400_000)}INSERT`,
  `INSERT INTO t ${';'.repeat(400_000)} x`,
  `INSERT INTO t SETTINGS ${' FORMAT a'.repeat(50_000)} !`,
  `INSERT INTO t (a${' '.repeat(400_000)}`,
  `INSERT${' '.repeat(400_000)}`,
  `${'--\n'.repeat(100_000)}`,
])('a long text takes no long time (%#)', (sql) => {
  const startMs = performance.now();
  readDataInsert(sql);
  isRead(sql);
  expect(performance.now() - startMs).toBeLessThan(500);
});

test('string literals keep every character', () => {
  expect(quote("a'b\\c")).toBe("'a\\'b\\\\c'");
});
