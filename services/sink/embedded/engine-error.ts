// Errors of the engine as ClickHouse's HTTP interface shows them: `Code: N. DB::Exception: … (NAME)`, a status, a header. Pure.

export interface HttpProblem {
  readonly status: number;
  readonly code: number;
  readonly body: string;
}

/** ClickHouse's exceptionCodeToHTTPStatus, the codes that are met here; everything else is 500. */
const STATUS: Readonly<Record<number, number>> = {
  6: 400, // CANNOT_PARSE_TEXT
  27: 400, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  33: 400, // CANNOT_READ_ALL_DATA
  36: 400, // BAD_ARGUMENTS
  41: 400, // CANNOT_PARSE_DATETIME
  48: 501, // NOT_IMPLEMENTED
  53: 400, // TYPE_MISMATCH
  62: 400, // SYNTAX_ERROR
  46: 404, // UNKNOWN_FUNCTION
  47: 404, // UNKNOWN_IDENTIFIER
  60: 404, // UNKNOWN_TABLE
  81: 404, // UNKNOWN_DATABASE
  115: 404, // UNKNOWN_SETTING
  159: 408, // TIMEOUT_EXCEEDED
  202: 503, // TOO_MANY_SIMULTANEOUS_QUERIES
  223: 413, // LIMIT_EXCEEDED (of a body)
  516: 403, // AUTHENTICATION_FAILED
};

export function engineProblem(error: unknown): HttpProblem {
  const message = error instanceof Error ? error.message : String(error);
  const known = /Code: (\d+)\. ([\s\S]*)/.exec(message);
  if (known) return problem(Number(known[1]), known[2]!.trim());
  const system = (error as NodeJS.ErrnoException).code;
  if (system === 'ENOSPC' || system === 'EDQUOT')
    return problem(243, `DB::Exception: ${message}. (NOT_ENOUGH_SPACE)`);
  return problem(1000, `DB::Exception: ${message}. (POCO_EXCEPTION)`);
}

export function problem(code: number, message: string): HttpProblem {
  return { status: STATUS[code] ?? 500, code, body: `Code: ${code}. ${message}\n` };
}
