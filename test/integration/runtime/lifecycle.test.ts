import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../../../', import.meta.url);

/** A process that runs `body` as a service; each signal is sent when its word appears on stderr. */
async function run(
  body: string,
  signals: readonly (readonly [word: string, signal: NodeJS.Signals])[] = [],
  stopDeadlineMs?: number,
): Promise<{ code: number | null; stderr: string }> {
  const script = `
    import { runService } from './services/runtime/lifecycle.ts';
    import { createLogger } from './services/runtime/log.ts';
    import { FlowtagError, ConfigError } from './services/runtime/errors.ts';
    const log = createLogger('test', 'info');
    const aborted = (signal) => new Promise((resolve) => signal.addEventListener('abort', resolve));
    const forever = () => new Promise(() => setInterval(() => {}, 1000));
    process.exitCode = await runService('test', log, async (signal) => { ${body} }, ${stopDeadlineMs});`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const waiting = [...signals];
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
    if (waiting.length === 0 || !stderr.includes(waiting[0]![0])) return;
    child.kill(waiting.shift()![1]);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
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
    const { code, stderr } = await run('log.info("up"); await forever();', [
      ['"up"', 'SIGTERM'],
      ['"stopping"', 'SIGINT'],
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('second signal');
    expect(stderr).not.toContain('took too long');
  });

  it('ends with 1 when an orderly stop takes longer than the deadline', async () => {
    const { code, stderr } = await run('log.info("up"); await forever();', [['"up"', 'SIGTERM']], 500);
    expect(code).toBe(1);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const [stopping, late] = lines.slice(-2);
    expect([stopping.msg, late.msg]).toEqual(['stopping', 'orderly stop took too long']);
    expect(Date.parse(late.time) - Date.parse(stopping.time)).toBeGreaterThanOrEqual(490);
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
