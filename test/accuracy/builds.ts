// Builds of test/targets/cases by several Go versions, as the world builds programs: plain, stripped, PIE, by profile.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { runLoad, startCases, startDownstream } from '../support/targets.ts';

export const BUILDS = ['plain', 'stripped', 'pie', 'pgo'] as const;
export type Build = (typeof BUILDS)[number];

export interface Toolchain {
  readonly minor: string;
  readonly version: string;
  readonly go: string;
  readonly goroot: string;
}

const run = promisify(execFile);
const FOLDER = resolve('build/accuracy');
const TOOLCHAINS = resolve('build/go-toolchains');
const FETCH_TIMEOUT_MS = 120_000;
const BUILD_TIMEOUT_MS = 600_000;
const PROFILE_PATHS = ['/pool', '/fresh', '/h2', '/tls', '/rawpool', '/nested/3'];

/** The Go on PATH. */
export function systemToolchain(): Promise<Toolchain> {
  return describe('go');
}

/** `1.24`: the system's Go when it is that, else from the folder, where it is fetched to. Rejects without one. */
export async function findToolchain(minor: string): Promise<Toolchain> {
  const system = await systemToolchain().catch(() => undefined);
  if (system?.minor === minor) return system;
  const go = join(TOOLCHAINS, minor, 'bin/go');
  if (!existsSync(go))
    await run('infra/go-toolchains.sh', [TOOLCHAINS, minor], { timeout: FETCH_TIMEOUT_MS });
  return describe(go);
}

async function describe(go: string): Promise<Toolchain> {
  const env = {
    ...process.env,
    GOTOOLCHAIN: 'local',
    ...(go === 'go' ? {} : { GOROOT: dirname(dirname(go)) }),
  };
  const { stdout } = await run(go, ['env', 'GOVERSION', 'GOROOT'], { env });
  const [goVersion = '', goroot = ''] = stdout.trim().split('\n');
  const version = goVersion.replace(/^go/, '');
  return { minor: version.split('.').slice(0, 2).join('.'), version, go, goroot };
}

/** Why there is no such build, or undefined. */
export function whyNot({ minor }: Toolchain, build: Build): string | undefined {
  return build === 'pgo' && Number(minor.split('.')[1]) < 21 ? 'Go builds by profile from 1.21' : undefined;
}

/** The program's path; made when its sources are newer. */
export async function buildCases(toolchain: Toolchain, build: Build): Promise<string> {
  const folder = join(FOLDER, `${toolchain.minor}-${build}`);
  mkdirSync(folder, { recursive: true });
  await make(toolchain, folder, await flagsOf(toolchain, build, folder));
  return join(folder, 'cases');
}

async function flagsOf(toolchain: Toolchain, build: Build, folder: string): Promise<string> {
  if (build === 'plain') return '';
  if (build === 'stripped') return "-ldflags='-s -w'";
  if (build === 'pie') return '-buildmode=pie';
  const profile = join(folder, 'cpu.pprof');
  if (!existsSync(profile)) await writeProfile(await buildCases(toolchain, 'plain'), profile);
  return `-pgo=${profile}`;
}

async function make({ go, goroot }: Toolchain, out: string, flags: string): Promise<void> {
  await run('make', ['-s', '-C', 'test/targets', `GO=${go}`, `OUT=${out}`, `FLAGS=${flags}`, 'cases'], {
    env: { ...process.env, GOROOT: goroot },
    timeout: BUILD_TIMEOUT_MS,
  });
}

/** Of the program under a load as the cases make it: what is hot there is what the compiler inlines. */
async function writeProfile(program: string, cpuProfile: string): Promise<void> {
  const downstream = await startDownstream();
  try {
    const server = await startCases(downstream, { program, cpuProfile });
    await runLoad({ server, path: PROFILE_PATHS, requests: 30_000, clients: 100, traceparent: true });
    await server.stop();
  } finally {
    await downstream.stop();
  }
}
