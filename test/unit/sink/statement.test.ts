import { expect, test } from 'vitest';
import { insertFromFile, quote, statementKind } from '../../../services/sink/embedded/statement.ts';

test.each([
  ['INSERT INTO t FORMAT RowBinary', "INSERT INTO t FROM INFILE 'f' FORMAT RowBinary"],
  ['insert into db.t format JSONEachRow;\n', "insert into db.t FROM INFILE 'f' format JSONEachRow"],
  ['INSERT INTO TABLE t (a, `b c`) FORMAT TSV', "INSERT INTO TABLE t (a, `b c`) FROM INFILE 'f' FORMAT TSV"],
  [
    "INSERT INTO t (a) SETTINGS x = 'FORMAT y', z = 1 FORMAT RowBinary",
    "INSERT INTO t (a) FROM INFILE 'f' SETTINGS x = 'FORMAT y', z = 1 FORMAT RowBinary",
  ],
  ['INSERT INTO `odd``name` FORMAT CSV', undefined],
  ['INSERT INTO `odd\\`name`."x" FORMAT CSV', 'INSERT INTO `odd\\`name`."x" FROM INFILE \'f\' FORMAT CSV'],
  ['INSERT INTO t VALUES (1)', undefined],
  ['INSERT INTO t SELECT 1 FORMAT Null', undefined],
  ["INSERT INTO t (a) VALUES ('FORMAT x')", undefined],
  ['SELECT 1 FORMAT JSON', undefined],
])('%s', (sql, expected) => {
  expect(statementKind(sql) === 'insert').toBe(expected !== undefined);
  if (expected === undefined) expect(() => insertFromFile(sql, 'f')).toThrow(TypeError);
  else expect(insertFromFile(sql, 'f').replace(/ +/g, ' ')).toBe(expected);
});

test.each([
  ['SELECT 1', 'read'],
  ['  -- why\n (select 1)', 'read'],
  ['WITH 1 AS x SELECT x', 'read'],
  ['EXPLAIN SELECT 1', 'read'],
  ['INSERT INTO t SELECT 1', 'write'],
  ['CREATE TABLE selected (n UInt8) ENGINE = Memory', 'write'],
  ['', 'write'],
])('%s is a %s', (sql, kind) => {
  expect(statementKind(sql)).toBe(kind);
});

test('a long statement that is no INSERT … FORMAT is told from one in no time', () => {
  const startMs = performance.now();
  statementKind(`INSERT INTO t (${'a, '.repeat(100_000)}`);
  statementKind(`INSERT INTO t ${' '.repeat(200_000)}x`);
  statementKind(`INSERT INTO t SETTINGS ${' FORMAT a'.repeat(20_000)} !`);
  expect(performance.now() - startMs).toBeLessThan(1_000);
});

test('string literals keep every character', () => {
  expect(quote("a'b\\c")).toBe("'a\\'b\\\\c'");
});
