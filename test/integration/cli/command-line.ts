// Runs the command line in this process, with streams and interrupts of its own.
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommandLine } from '../../../services/cli/main.ts';

export interface RunningCommand {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: Promise<number>;
  interrupt(): void;
  /** As `| head`: whoever read stdout has gone. */
  closeStdout(): void;
}

export function startCommand(...argv: string[]): RunningCommand {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const text = { stdout: '', stderr: '' };
  stdout.on('data', (chunk) => {
    text.stdout += chunk;
  });
  stderr.on('data', (chunk) => {
    text.stderr += chunk;
  });
  const [stop, kill] = [new AbortController(), new AbortController()];
  const code = runCommandLine(argv, { stdout, stderr }, () => ({
    stop: stop.signal,
    kill: kill.signal,
  }));
  return {
    get stdout() {
      return text.stdout;
    },
    get stderr() {
      return text.stderr;
    },
    code,
    interrupt: () => stop.abort(),
    closeStdout: () => stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
  };
}

export async function runCommand(
  ...argv: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = startCommand(...argv);
  const code = await command.code;
  return { code, stdout: command.stdout, stderr: command.stderr };
}

/** Fails with what was awaited when it does not come true in time. */
export async function eventually(what: string, met: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!met()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}
