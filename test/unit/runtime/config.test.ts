import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadConfig, sharedOptions } from '../../../services/runtime/config.ts';
import { ConfigError } from '../../../services/runtime/errors.ts';

const schema = z.strictObject({
  ...sharedOptions,
  maxOpen: z.number().int().positive().default(100),
  windowMs: z.coerce.number().int().optional(),
  target: z.array(z.string().min(1)).default([]),
  port: z.array(z.number().int()).default([]),
  demo: z.boolean().default(false),
  afterNs: z.bigint().optional(),
});

const load = (argv: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  loadConfig('correlator', schema, argv, env);

function problems(argv: readonly string[], env: NodeJS.ProcessEnv = {}): ConfigError {
  try {
    load(argv, env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
  }
  throw new Error('was accepted');
}

describe('loadConfig', () => {
  it('has defaults for everything shared', () => {
    expect(load([])).toMatchObject({
      server: 'nats://127.0.0.1:4222',
      dataDir: '.flowtag',
      logLevel: 'info',
      maxOpen: 100,
      target: [],
      demo: false,
    });
    expect(load([]).host).not.toBe('');
  });

  it('lets the flag win over the environment and that over the default', () => {
    const env = { FLOWTAG_CORRELATOR_MAX_OPEN: '7', FLOWTAG_SERVER: 'nats://b:4222' };
    expect(load([], env)).toMatchObject({ maxOpen: 7, server: 'nats://b:4222' });
    expect(load(['--max-open', '8', '--server=tls://c:1,nats://d:2'], env)).toMatchObject({
      maxOpen: 8,
      server: 'tls://c:1,nats://d:2',
    });
  });

  it('reads numbers, bigints, booleans and lists', () => {
    expect(
      load(['--target', 'a', '--target=b', '--demo', '--window-ms=-5', '--after-ns', '12']),
    ).toMatchObject({
      target: ['a', 'b'],
      demo: true,
      windowMs: -5,
      afterNs: 12n,
    });
    expect(
      load(['--demo=false'], {
        FLOWTAG_CORRELATOR_TARGET: 'a, b,,c',
        FLOWTAG_CORRELATOR_PORT: '1,2',
        FLOWTAG_CORRELATOR_DEMO: '1',
      }),
    ).toMatchObject({ target: ['a', 'b', 'c'], port: [1, 2], demo: false });
  });

  it('takes an empty variable as not set', () => {
    expect(load([], { FLOWTAG_CORRELATOR_MAX_OPEN: '', FLOWTAG_SERVER: '' }).maxOpen).toBe(100);
  });

  it('ignores what is meant for other roles and other programs', () => {
    const env = {
      FLOWTAG_SINK_STORE: 'x',
      FLOWTAG_CAPTURE_TARGET: 'y',
      FLOWTAG_DOCTOR_TARGET: 'z',
      HOME: '/root',
    };
    expect(() => load([], env)).not.toThrow();
  });

  it('refuses prefixes that no role owns', () => {
    expect(problems([], { FLOWTAG_UP_TARGET: 'x' }).message).toContain('FLOWTAG_UP_TARGET: no such variable');
  });

  it('knows the shared variables even when the role has no use for them', () => {
    expect(() =>
      loadConfig('cli', z.object({}), [], { FLOWTAG_HOST: 'a', FLOWTAG_LOG_LEVEL: 'info' }),
    ).not.toThrow();
  });

  it('reports all problems at once, with name, problem and example', () => {
    const error = problems(['--max-open', 'many', '--nope', '3', 'stray', '--target'], {
      FLOWTAG_SERVR: 'x',
      FLOWTAG_LOG_LEVEL: 'loud',
      FLOWTAG_CORRELATOR_PORT: '80,x',
    });
    expect([error.code, error.exitCode]).toEqual(['CONFIG', 2]);
    const lines = error.message.split('\n');
    expect(lines[0]).toBe('flowtag correlator cannot start:');
    expect(lines).toHaveLength(8);
    for (const part of [
      /FLOWTAG_SERVR: no such variable; known: .*FLOWTAG_SERVER/,
      /--nope: no such flag; flowtag correlator knows: .*--max-open/,
      /stray: unexpected argument/,
      /--target: needs a value/,
      /--max-open \(FLOWTAG_CORRELATOR_MAX_OPEN\): .*number.*; example: --max-open 100/,
      /--log-level \(FLOWTAG_LOG_LEVEL\): .*; example: --log-level info/,
      /--port \(FLOWTAG_CORRELATOR_PORT\): .*; example: --port 1/,
    ])
      expect(error.message).toMatch(part);
  });

  it.each(['http://a', 'nats://', 'a:4222', 'nats://a:1,', 'nats://a b'])(
    'refuses the server %j',
    (server) => {
      expect(problems(['--server', server]).message).toContain('--server (FLOWTAG_SERVER): is not a nats://');
    },
  );

  it('does not repeat a refused value: it may hold a password', () => {
    expect(problems(['--server', 'http://me:secret@a']).message).not.toContain('secret');
  });
});
