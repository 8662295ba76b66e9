// One run of the load program (test/targets/bench): warm-up, a word from us, measurement, summary.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { targetPath } from '../support/targets.ts';

/** To each URL, before the measurement. */
export const WARM_REQUESTS = 200;
const CLIENTS = 16;
const SLACK_MS = 60_000;

export interface Load {
  readonly urls: readonly string[];
  /** Requests to each URL, evenly spaced; or as many as are answered in a time. */
  readonly pace:
    | { readonly requests: number; readonly ratePerSecond: number }
    | { readonly durationMs: number };
}

export interface LoadSummary {
  readonly durationMs: number;
  readonly servers: readonly { readonly ok: number; readonly failed: number; readonly p99Ms: number }[];
}

/** Calls `onWarm` between warm-up and measurement. Throws when a request failed. */
export async function drive({ urls, pace }: Load, onWarm: () => Promise<void>): Promise<LoadSummary> {
  const [paceArgs, expectedMs] =
    'durationMs' in pace
      ? [['-duration', `${pace.durationMs}ms`], pace.durationMs]
      : [
          ['-n', `${pace.requests}`, '-rate', `${pace.ratePerSecond}`],
          (1_000 * pace.requests) / pace.ratePerSecond,
        ];
  const args = [
    'load',
    '-c',
    `${CLIENTS}`,
    '-warm',
    `${WARM_REQUESTS}`,
    ...paceArgs,
    ...urls.flatMap((url) => ['-url', url]),
  ];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', targetPath('bench'), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => undefined); // it has ended: the exit code below says so
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const timer = setTimeout(() => child.kill('SIGKILL'), 2 * expectedMs + SLACK_MS);
  try {
    let last = '';
    for await (const line of createInterface(child.stdout)) {
      last = line;
      if (line !== '{"warm":true}') continue;
      await onWarm();
      child.stdin.end('go\n');
    }
    const [code] = await exited;
    if (code !== 0) throw new Error(`the load program ended with ${code}: ${last}`);
    const summary = JSON.parse(last) as LoadSummary;
    if (summary.servers.some(({ failed }) => failed > 0)) throw new Error(`requests failed: ${last}`);
    return summary;
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}
