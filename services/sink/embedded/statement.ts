// Just enough SQL to tell statements apart and to point an INSERT at a file. Pure, and linear in the text's length.
// chdb takes text only, as one UTF-8 string: binary data inline would be corrupted, `FROM INFILE` is its binary path.

/** `INSERT INTO … [SETTINGS …] FORMAT x`, whose data comes separately. */
export interface DataInsert {
  readonly into: string;
  readonly settings: string;
  readonly format: string;
}

const NAME = '(?:`(?:[^`\\\\]|\\\\.)*`|"(?:[^"\\\\]|\\\\.)*"|\\w+)';
const INTO = new RegExp(`INSERT\\s+INTO\\s+(?:TABLE\\s+)?${NAME}(?:\\.${NAME})?`, 'iy');
const COLUMNS = new RegExp(`\\(\\s*${NAME}(?:\\s*,\\s*${NAME})*\\s*\\)`, 'y');
const FORMAT = /\bFORMAT\s+\w+$/i;
const READ = /^(?:[\s(]|--[^\n]*\n)*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|CHECK)\b/i;
/** Comments before the first word, at most. */
const LOOK_AT = 4_096;

/** Undefined for every other statement. */
export function readDataInsert(sql: string): DataInsert | undefined {
  const text = sql.trimStart();
  const into = take(INTO, text);
  if (into === '') return undefined;
  const afterInto = text.slice(into.length).trimStart();
  const columns = take(COLUMNS, afterInto);
  const rest = withoutEnd(afterInto.slice(columns.length)).trimStart();
  const format = FORMAT.exec(rest)?.[0];
  if (format === undefined) return undefined;
  const settings = rest.slice(0, -format.length).trimEnd();
  if (settings !== '' && !/^SETTINGS\s/i.test(settings)) return undefined;
  return { into: `${into} ${columns}`, settings, format };
}

/** The same INSERT, its data taken from a file. */
export function insertFromFile({ into, settings, format }: DataInsert, path: string): string {
  return `${into} FROM INFILE ${quote(path)} ${settings} ${format}`;
}

export function isRead(sql: string): boolean {
  return READ.test(sql.slice(0, LOOK_AT));
}

/** A string literal of ClickHouse. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function take(sticky: RegExp, text: string): string {
  sticky.lastIndex = 0;
  return sticky.exec(text)?.[0] ?? '';
}

function withoutEnd(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ';' || text[end - 1]!.trim() === '')) end--;
  return text.slice(0, end);
}
