// Just enough SQL to tell statements apart and to point an INSERT at a file. Pure.
// chdb takes text only, as one UTF-8 string: binary data inline would be corrupted, `FROM INFILE` is its binary path.

export type StatementKind = 'read' | 'write' | 'insert';

const NAME = '(?:`(?:[^`\\\\]|\\\\.)*`|"(?:[^"\\\\]|\\\\.)*"|\\w+)';
const COLUMNS = `\\(\\s*${NAME}(?:\\s*,\\s*${NAME})*\\s*\\)`;
const INSERT_FORMAT = new RegExp(
  `^(\\s*INSERT\\s+INTO\\s+(?:TABLE\\s+)?${NAME}(?:\\.${NAME})?\\s*(?:${COLUMNS})?)` +
    '\\s*(SETTINGS\\b[\\s\\S]*?)?\\s*(FORMAT\\s+\\w+)[\\s;]*$',
  'i',
);
const READ = /^\s*(?:--[^\n]*\n\s*)*\(*\s*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|CHECK)\b/i;

/** `insert`: `INSERT INTO … FORMAT x` whose data is the body. */
export function statementKind(sql: string): StatementKind {
  if (INSERT_FORMAT.test(sql)) return 'insert';
  return READ.test(sql) ? 'read' : 'write';
}

/** The same INSERT, its data taken from a file. */
export function insertFromFile(sql: string, path: string): string {
  const match = INSERT_FORMAT.exec(sql);
  if (!match) throw new TypeError(`not an INSERT … FORMAT statement: ${sql.slice(0, 200)}`);
  const [, into, settings = '', format] = match;
  return `${into} FROM INFILE ${quote(path)} ${settings} ${format}`;
}

/** A string literal of ClickHouse. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
