// A Docker engine with flowtag's images, for the tests that use one.
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const NOT_POSSIBLE_HERE = 3;
/** Cold, all is downloaded and built: the images' compilers, too. */
export const ENGINE_START_MS = 20 * 60_000;

/** Starts what is missing and tells this process's clients where it is. What it returns says why that is not possible here. */
export async function useDocker(): Promise<string | undefined> {
  const script = 'exports=$(infra/docker/engine.sh up) || exit; eval "$exports"; env -0';
  try {
    const { stdout } = await run('bash', ['-c', script]);
    for (const line of stdout.split('\0').filter(Boolean)) {
      const at = line.indexOf('=');
      process.env[line.slice(0, at)] = line.slice(at + 1);
    }
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    if (code === NOT_POSSIBLE_HERE) return stderr;
    throw error;
  }
  await docker('compose', 'build', '--quiet');
  return undefined;
}

export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('docker', args, { maxBuffer: 16 << 20 });
  return stdout;
}

/** A line as a user types it. */
export async function shell(line: string): Promise<string> {
  const { stdout } = await run('bash', ['-c', line], { maxBuffer: 16 << 20 });
  return stdout;
}

/** After all tests: ends the engine that they started, if it was not there already for the shell that runs them. */
export function teardown(): void {
  if (process.env.DOCKER_HOST === undefined) execFileSync('infra/docker/engine.sh', ['down']);
}
