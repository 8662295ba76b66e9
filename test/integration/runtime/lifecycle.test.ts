import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../../../', import.meta.url);

/** A process that runs `body` as a service; each signal is sent when its word appears on stderr. */
async function run(
  body: string,
  signals: readonly (readonly [word: string, signal: NodeJS.Signals])[] = [],
): Promise<{ code: number | null; stderr: string; tookMs: number }> {
  const script = `
    import { runService } from './services/runtime/lifecycle.ts';
    import { createLogger } from './services/runtime/log.ts';
    import { FlowtagError, ConfigError } from './services/runtime/errors.ts';
    const log = createLogger('test', 'info');
    const aborted = (signal) => new Promise((resolve) => signal.addEventListener('abort', resolve));
    const forever = () => new Promise(() => setInterval(() => {}, 1000));
    process.exitCode = await runService('test', log, async (signal) => { ${body} });`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const waiting = [...signals];
  let stderr = '';
  let signalledMs = performance.now();
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
    if (waiting.length === 0 || !stderr.includes(waiting[0]![0])) return;
    signalledMs = performance.now();
    child.kill(waiting.shift()![1]);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr, tookMs: performance.now() - signalledMs };
}

describe('runService', { timeout: 30_000 }, () => {
  it('ends with 0 when the work is done, and logs JSON lines', async () => {
    const { code, stderr } = await run('log.info({ n: 1 }, "at work");');
    expect(code).toBe(0);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ msg }) => msg)).toEqual(['starting', 'at work', 'stopped']);
    expect(lines[1]).toMatchObject({
      level: 'info',
      role: 'test',
      n: 1,
      time: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('stops in order at %s', async (signal) => {
    const { code, stderr } = await run('log.info("up"); await aborted(signal); log.info("flushed");', [
      ['"up"', signal],
    ]);
    expect([code, stderr.includes('flushed'), stderr.includes('"stopped"')]).toEqual([0, true, true]);
  });

  it('ends at once at a second signal', async () => {
    const { code, stderr, tookMs } = await run('log.info("up"); await forever();', [
      ['"up"', 'SIGTERM'],
      ['"stopping"', 'SIGINT'],
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('second signal');
    expect(tookMs).toBeLessThan(2_000);
  });

  it('ends with 1 when an orderly stop takes longer than 10 s', async () => {
    const { code, stderr, tookMs } = await run('log.info("up"); await forever();', [['"up"', 'SIGTERM']]);
    expect(code).toBe(1);
    expect(stderr).toContain('orderly stop took too long');
    expect(tookMs).toBeGreaterThan(9_500);
    expect(tookMs).toBeLessThan(13_000);
  });

  it.each([
    ['throw new ConfigError("CONFIG", "no such target");', 2, /"code":"CONFIG".*no such target/],
    [
      'throw new FlowtagError("HOST", "no BTF", { exitCode: 3, cause: new Error("ENOENT") });',
      3,
      /ENOENT.*no BTF/,
    ],
    [
      'throw new FlowtagError("ABORTED", "stopped early", { exitCode: 0 });',
      0,
      /"level":"info".*stopped early/,
    ],
    ['throw new TypeError("defect");', 1, /TypeError: defect.*test failed/],
  ])('logs and turns into an exit code: %s', async (body, exitCode, line) => {
    const { code, stderr } = await run(body);
    expect(code).toBe(exitCode);
    expect(stderr).toMatch(line);
  });
});
