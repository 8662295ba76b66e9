// Kernels in virtual machines (infra/kernels), one at a time.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { KernelResult, Run } from './result.ts';

const KERNELS_FOLDER = resolve('build/kernels');
const INSIDE = join(KERNELS_FOLDER, 'js/test/kernels/inside.js');
/** The rights alone take minutes: a process for each set. */
const LIMIT_S = 1_200;

/** Compiled beforehand: a compiler takes minutes under emulation. */
export async function compileInside(signal: AbortSignal): Promise<void> {
  await run('node_modules/.bin/tsc', ['-p', 'test/kernels/tsconfig.json'], signal);
}

/** Never rejects, unless it is interrupted. */
export async function runKernel(kernel: string, args: readonly string[], signal: AbortSignal): Promise<Run> {
  const out = join(KERNELS_FOLDER, 'results', kernel);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const file = join(out, 'result.json');
  const inside = [process.execPath, '--enable-source-maps', INSIDE, ...args, '--result', file];
  let beganMs = performance.now();
  const seconds = (): number => (performance.now() - beganMs) / 1000;
  try {
    await run('infra/kernels/fetch.sh', [kernel], signal);
    beganMs = performance.now();
    await run('infra/kernels/run.sh', ['--out', out, '--limit', String(LIMIT_S), kernel, ...inside], signal);
    if (!existsSync(file)) throw new Error('the virtual machine wrote no result');
    return { kernel, seconds: seconds(), result: JSON.parse(readFileSync(file, 'utf8')) as KernelResult };
  } catch (error) {
    signal.throwIfAborted();
    return { kernel, seconds: seconds(), failure: (error as Error).message };
  }
}

/** Its output goes to our stderr. Ends with us, and when it is interrupted. */
async function run(file: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', file, ...args], { stdio: ['ignore', 2, 2] });
  const end = (): boolean => child.kill('SIGTERM');
  signal.addEventListener('abort', end);
  const [code] = await once(child, 'exit');
  signal.removeEventListener('abort', end);
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`${file} ended with ${code}`);
}
