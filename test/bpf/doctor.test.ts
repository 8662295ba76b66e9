// What `flowtag doctor` says on this kernel when something is taken away from it, and how it ends.
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { type Check, check } from '../../schemas/check.ts';

const DOCTOR = [process.execPath, resolve('bin/flowtag.js'), 'doctor', '-o', 'json'];
const NOBODY = '65534';
/** Numbers of system calls on amd64. */
const BPF = '321';
const PERF_EVENT_OPEN = '298';

test('nothing is missing', async () => {
  const { exitCode, failed, states } = await run(DOCTOR);
  expect(failed).toEqual([]);
  expect(exitCode).toBe(0);
  expect(states).toMatchObject({ rights: 'ok', BTF: 'ok', programs: 'ok', uprobes: 'ok' });
});

test('a kernel without BTF', async () => {
  const hide = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"';
  const { exitCode, failed } = await run(['unshare', '--mount', 'sh', '-c', hide, 'sh', ...DOCTOR]);
  expect(exitCode).toBe(3);
  expect(failed.map(({ name }) => name)).toEqual(['BTF', 'programs']);
  for (const { cure } of failed) expect(cure).toContain('CONFIG_DEBUG_INFO_BTF=y');
});

test('a seccomp filter that forbids bpf(2)', async () => {
  const forbid = ['--import', 'tsx', resolve('test/support/forbid.ts'), BPF, PERF_EVENT_OPEN];
  const { exitCode, failed } = await run([process.execPath, ...forbid, '--', ...DOCTOR]);
  expect(exitCode).toBe(3);
  expect(failed.map(({ name }) => name)).toEqual(['programs']);
  expect(failed[0]!.detail).toContain('a seccomp filter is in force');
  expect(failed[0]!.cure).toContain('SystemCallFilter=');
});

test('a capability that is missing', async () => {
  const caps = '+perfmon,+sys_ptrace';
  const rights = ['--inh-caps', caps, '--ambient-caps', caps, '--bounding-set', `-all,${caps}`];
  const user = ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups'];
  const { exitCode, failed, states } = await run(['setpriv', ...user, ...rights, ...DOCTOR]);
  expect(exitCode).toBe(3);
  expect(states.rights).toBe('warn');
  expect(failed.map(({ name }) => name)).toEqual(['programs']);
  expect(failed[0]!.detail).toContain('with CAP_BPF');
});

interface Outcome {
  readonly exitCode: number;
  readonly states: Readonly<Record<string, Check['state']>>;
  readonly failed: readonly Check[];
}

function run([file, ...args]: readonly string[]): Promise<Outcome> {
  return new Promise((done, failed) => {
    execFile(file!, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : error.code;
      if (typeof exitCode !== 'number' || stdout === '') return failed(new Error(`${error}: ${stderr}`));
      const lines = stdout.split('\n').filter(Boolean);
      const checks = lines.map((line) => check.parse(JSON.parse(line)));
      done({
        exitCode,
        states: Object.fromEntries(checks.map(({ name, state }) => [name, state])),
        failed: checks.filter(({ state }) => state === 'fail'),
      });
    });
  });
}
