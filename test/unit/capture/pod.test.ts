// Against a /proc of our own making: files as the kubelet and containerd lay them out.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mountPoints, NO_POD, readPod } from '../../../services/capture/pod.ts';

const ACCOUNT = '/run/secrets/kubernetes.io/serviceaccount';
const MOUNTS = `1021 1018 0:52 / / rw,relatime master:301 - overlay overlay rw
1030 1021 259:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ab/hostname /etc/hostname rw - ext4 /dev/root rw
1033 1021 0:48 / ${ACCOUNT} ro,relatime - tmpfs tmpfs rw
`;
let proc: string;

function write(path: string, text: string): void {
  mkdirSync(dirname(join(proc, path)), { recursive: true });
  writeFileSync(join(proc, path), text);
}

function net(pid: number, inode: number): void {
  mkdirSync(join(proc, `${pid}/ns`), { recursive: true });
  symlinkSync(`net:[${inode}]`, join(proc, `${pid}/ns/net`));
}

beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), 'flowtag-proc-'));
  net(1, 4_026_531_840);
  write('7/mountinfo', MOUNTS);
  write(`7/root${ACCOUNT}/namespace`, 'shop');
  write('7/root/etc/hostname', 'orders-5d4f7c9b6-x2x7q\n');
});
afterEach(() => rmSync(proc, { recursive: true }));

it('namespace and name are those that the kubelet mounted', () => {
  net(7, 4_026_532_999);
  expect(readPod(7, proc)).toEqual({ namespace: 'shop', name: 'orders-5d4f7c9b6-x2x7q' });
});

it('on the host’s network the host name is the node’s: no pod name', () => {
  net(7, 4_026_531_840);
  expect(readPod(7, proc)).toEqual({ namespace: 'shop', name: '' });
});

it('files that the image brought, not the kubelet, say nothing', () => {
  net(7, 4_026_532_999);
  write('7/mountinfo', MOUNTS.split('\n')[0]!);
  expect(readPod(7, proc)).toEqual(NO_POD);
});

it.each([
  ['cut by the kubelet, maybe', 'a'.repeat(63)],
  ['a full domain name', 'orders-0.orders.shop.svc.cluster.local'],
  ['no name at all', 'root:x:0:0:root:/root:/bin/bash'],
  ['empty', ''],
])('a host name that is %s is no pod name', (_, name) => {
  net(7, 4_026_532_999);
  write('7/root/etc/hostname', `${name}\n`);
  expect(readPod(7, proc).name).toBe('');
});

it('a pipe in the place of a file is not waited for', () => {
  net(7, 4_026_532_999);
  rmSync(join(proc, `7/root${ACCOUNT}/namespace`));
  execFileSync('mkfifo', [join(proc, `7/root${ACCOUNT}/namespace`)]);
  expect(readPod(7, proc).namespace).toBe('');
});

it('a process that is gone has no pod', () => {
  expect(readPod(8, proc)).toEqual(NO_POD);
});

it('mount points are the fifth field', () => {
  expect(mountPoints(MOUNTS)).toEqual(['/', '/etc/hostname', ACCOUNT]);
});
