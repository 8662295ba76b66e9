import { expect, it } from 'vitest';
import { BusError, ConfigError, FlowtagError } from '../../../services/runtime/errors.ts';
import { isWorthLogging } from '../../../services/runtime/log.ts';
import { VERSION } from '../../../services/runtime/version.ts';

it('errors carry their code, name, cause and exit code', () => {
  const cause = new Error('below');
  const error = new BusError('TIMEOUT', 'no answer', { cause });
  expect(error).toMatchObject({
    name: 'BusError',
    code: 'TIMEOUT',
    message: 'no answer',
    exitCode: 1,
    cause,
  });
  expect(error).toBeInstanceOf(FlowtagError);
  expect(new ConfigError('CONFIG', 'x').exitCode).toBe(2);
  expect(new FlowtagError('X', 'x', { exitCode: 3 }).exitCode).toBe(3);
});

it('logs at the powers of two', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 1024, 1025].filter(isWorthLogging)).toEqual([1, 2, 4, 8, 1024]);
});

it('finds the version', () => {
  expect(VERSION).toMatch(/^\d+\.\d+\.\d+/);
});
