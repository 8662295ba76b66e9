// What a user can get wrong, and what a host can lack: a clear message, the right exit code, and the rest goes on.
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startDemo, startDownstream, startProgram, targetPath } from '../support/targets.ts';
import { flowtag, type Result, Up } from '../support/up.ts';

const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'];
const FLOWTAG = [process.execPath, resolve('bin/flowtag.js')];
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'flowtag-bad-'));
  chmodSync(directory, 0o755);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function run(...command: string[]): Promise<Result> {
  return new Promise((done) => {
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('exit', (code) => done({ code: code ?? -1, stdout, stderr }));
  });
}

function nobodysDirectory(): string {
  const path = mkdtempSync(join(directory, 'nobody-'));
  chmodSync(path, 0o777);
  return path;
}

test('targets that cannot be probed are named with the reason and do not stop the others', async () => {
  const downstream = await startDownstream();
  const demo = await startDemo(downstream);
  const plain = await startProgram(targetPath('plain'), []);
  const folder = join(directory, 'a folder');
  mkdirSync(folder);
  const targets = [
    '/bin/true',
    targetPath('plain'),
    String(process.pid),
    '4194303',
    '/no/such/server',
    folder,
    String(demo.pid),
  ];
  const up = await Up.start(targets.flatMap((target) => ['--target', target]));
  try {
    await new Promise((done) =>
      request(`http://${demo.listen}/echo/still`, (r) => r.resume().on('end', done)).end(),
    );
    const flows = await up.storedUntil((all) => all.length > 0);
    expect(flows).toMatchObject([{ 'url.path': '/echo/still', 'process.pid': demo.pid }]);
    for (const said of [
      '/bin/true: not a Go program',
      `${targetPath('plain')}: a Go program without net/http's server`,
      `${process.pid}: not a Go program`,
      '4194303: no such process',
      '/no/such/server: no such file',
      `${folder}: not a regular file`,
    ])
      await expect.poll(() => up.stderr, { timeout: 10_000 }).toContain(said);
  } finally {
    await up.stop();
    await Promise.all([demo, plain, downstream].map((program) => program.stop()));
  }
});

test('a program that may not be read says so', async () => {
  const secret = join(directory, 'secret');
  copyFileSync(targetPath('demo'), secret);
  chmodSync(secret, 0o700);
  const { code, stdout } = await run(...NOBODY, ...FLOWTAG, 'doctor', '--target', secret);
  expect(stdout).toMatch(/fail {2}target .*secret .*(permi|read)/i);
  expect(code).toBe(3);
});

describe('without root', () => {
  test('up ends with exit code 3 and says why', async () => {
    const { code, stderr } = await run(
      ...NOBODY,
      ...FLOWTAG,
      'up',
      '--demo',
      '--data-dir',
      nobodysDirectory(),
    );
    expect(stderr).toContain('not permitted; run as root');
    expect(code).toBe(3);
  });

  test('doctor names the right that is missing', async () => {
    const { code, stdout } = await run(...NOBODY, ...FLOWTAG, 'doctor');
    expect(stdout).toMatch(/warn {2}rights .*not root/);
    expect(stdout).toMatch(/fail {2}programs .*not permitted.*\n +-> run as root/);
    expect(code).toBe(3);
  });
});

describe('on a kernel without BTF', () => {
  const withoutBtf = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    'mount -t tmpfs none /sys/kernel/btf && exec "$@"',
    'sh',
  ];

  test('capture ends with exit code 3 and says what kernel is needed', async () => {
    const server = 'nats://127.0.0.1:1';
    const { code, stderr } = await run(...withoutBtf, ...FLOWTAG, 'capture', '--auto', '--server', server);
    expect(stderr).toContain('CONFIG_DEBUG_INFO_BTF=y');
    expect(code).toBe(3);
  });

  test('doctor says so', async () => {
    const { code, stdout } = await run(...withoutBtf, ...FLOWTAG, 'doctor');
    expect(stdout).toMatch(/fail {2}BTF .*no \/sys\/kernel\/btf\/vmlinux/);
    expect(code).toBe(3);
  });
});

describe('wrong usage', () => {
  test('a service lists all problems of its configuration at once', async () => {
    const { code, stderr } = await flowtag('capture', '--ring-mib', '7', '--scan-ms', 'soon', '--nonsense');
    expect(code).toBe(2);
    for (const problem of ['--ring-mib', '--scan-ms', '--nonsense']) expect(stderr).toContain(problem);
  });

  test('capture without a target says how to name one', async () => {
    const { code, stderr } = await flowtag('capture');
    expect([code, stderr]).toEqual([2, expect.stringContaining('--target PID|PATH|GLOB')]);
  });

  test('an unknown variable of ours refuses the start', async () => {
    const { code, stderr } = await run('env', 'FLOWTAG_SREVER=x', ...FLOWTAG, 'capture', '--auto');
    expect([code, stderr]).toEqual([2, expect.stringContaining('FLOWTAG_SREVER')]);
  });

  test.each([
    ['lookup', 'not-an-address'],
    ['lookup', '10.0.0.1:99999'],
    ['observe', '--last', 'many'],
    ['observe', '-o', 'xml'],
    ['up', '--duration', 'long'],
    ['frobnicate'],
  ])('%s %s is a usage error with a hint', async (...args) => {
    const { code, stderr, stdout } = await flowtag(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/see: flowtag/);
  });

  test('no bus: what was tried and how to start one', async () => {
    const { code, stderr } = await flowtag('observe', '--data-dir', join(directory, 'nothing'));
    expect(code).toBe(1);
    expect(stderr).toContain('npm start');
  });
});
