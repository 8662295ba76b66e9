// A process that the kernel shows as it shows one of a pod: its cgroup, mounts and network are real.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readProcess } from '../../../services/capture/proc.ts';
import { endChild } from '../../support/end-child.ts';

const UID = '8f2c1e1e-4a5b-4c6d-8e7f-00000000f10a';
const ID = 'f10a'.repeat(16);
/** Where a group can be made: the whole of cgroup v2, or a hierarchy of v1 that limits nothing. */
const ROOT = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find(existsSync)!;
const GROUPS = [`kubepods-flowtag-test`, `pod${UID}`, ID].map((_, i, all) =>
  join(ROOT, ...all.slice(0, i + 1)),
);
const ACCOUNT = '/run/secrets/kubernetes.io/serviceaccount';

let files: string;
let pod: ChildProcess;

beforeAll(async () => {
  files = mkdtempSync(join(tmpdir(), 'flowtag-pod-'));
  mkdirSync(join(files, 'account'));
  writeFileSync(join(files, 'account/namespace'), 'shop');
  writeFileSync(join(files, 'hostname'), 'orders-0\n');
  for (const group of GROUPS) mkdirSync(group);
  // On a /run of its own, so that the machine's is left as it is.
  const inside = `mount -t tmpfs none /run && mkdir -p ${ACCOUNT} && mount --bind ${files}/account ${ACCOUNT} &&
    mount --bind ${files}/hostname /etc/hostname && echo ready && exec sleep 60`;
  pod = spawn('unshare', ['--mount', '--net', 'sh', '-c', inside], { stdio: ['ignore', 'pipe', 'inherit'] });
  writeFileSync(join(GROUPS.at(-1)!, 'cgroup.procs'), `${pod.pid}`);
  await new Promise((ready) => pod.stdout!.once('data', ready));
});

afterAll(async () => {
  await endChild(pod, 5_000);
  for (const group of [...GROUPS].reverse()) rmdirSync(group);
  rmSync(files, { recursive: true });
});

it('is told with its pod and its container', () => {
  expect(readProcess(pod.pid!, 0n)).toMatchObject({
    pid: pod.pid,
    containerId: ID,
    podUid: UID,
    pod: { namespace: 'shop', name: 'orders-0' },
  });
});

it('and one beside it has none', () => {
  expect(readProcess(process.pid, 0n)).toMatchObject({ podUid: '', pod: { namespace: '', name: '' } });
});
