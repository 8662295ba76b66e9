import { expect, test } from 'vitest';
import { engineProblem } from '../../../services/sink/embedded/engine-error.ts';
import { readRequest } from '../../../services/sink/embedded/request.ts';

const read = (query: string, method = 'POST') => readRequest(method, new URLSearchParams(query));

test('settings and parameters become one SET; the protocol is left out', () => {
  const request = read("query=SELECT%201&query_id=q&default_format=JSON&param_a=o'x&max_block_size=5");
  expect(request).toMatchObject({ sql: 'SELECT 1', insert: undefined, format: 'JSON', queryId: 'q' });
  expect('settings' in request && request.settings).toBe(
    "SET param_a = 'o\\'x', max_block_size = '5', max_execution_time = '30', max_memory_usage = '1073741824', max_result_bytes = '268435456', result_overflow_mode = 'throw'",
  );
});

test.each([
  ['', '30'],
  ['max_execution_time=0', '30'],
  ['max_execution_time=-1', '30'],
  ['max_execution_time=1e9', '30'],
  ['max_execution_time=nonsense', '30'],
  ['max_execution_time=2', '2'],
])('a limit may be lowered, not raised: %s', (query, seconds) => {
  expect(read(query)).toMatchObject({
    settings: expect.stringContaining(`max_execution_time = '${seconds}'`),
  });
});

test('GET is read-only', () => {
  expect(read('query=SELECT%201', 'GET')).toMatchObject({
    settings: expect.stringContaining("readonly = '2'"),
  });
});

test.each([
  ['session_id=x', 48],
  ['compress=1', 48],
  ['database=other', 81],
  ["a'b=1", 115],
])('%s is refused', (query, code) => {
  expect(read(query)).toMatchObject({ code });
});

test.each([
  [
    'Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR)',
    400,
    62,
    'Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR)\n',
  ],
  ['Code: 99999. DB::Exception: x. (Y)', 500, 99_999, 'Code: 99999. DB::Exception: x. (Y)\n'],
  ['anything else', 500, 1000, 'Code: 1000. DB::Exception: anything else. (POCO_EXCEPTION)\n'],
])('%s', (message, status, code, body) => {
  expect(engineProblem(new Error(message))).toEqual({ status, code, body });
});

test('a full disk has a name', () => {
  const error = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  expect(engineProblem(error)).toMatchObject({ code: 243, body: expect.stringMatching(/NOT_ENOUGH_SPACE/) });
});
