import { describe, expect, it } from 'vitest';
import { parseCgroup } from '../../../services/capture/cgroup.ts';

const ID = '0123456789abcdef'.repeat(4);
const NODE = 'fedcba9876543210'.repeat(4);
const UID = '8f2c1e1e-4a5b-4c6d-8e7f-000000000001';
const UID_ = UID.replaceAll('-', '_');

describe('a pod', () => {
  it.each([
    [
      'cgroup v1, cgroupfs',
      `11:memory:/kubepods/burstable/pod${UID}/${ID}\n1:name=systemd:/kubepods/burstable/pod${UID}/${ID}\n`,
    ],
    ['cgroup v2, cgroupfs, guaranteed', `0::/kubepods/pod${UID}/${ID}\n`],
    [
      'containerd, systemd, v2',
      `0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID_}.slice/cri-containerd-${ID}.scope\n`,
    ],
    [
      'containerd, systemd, guaranteed',
      `0::/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope\n`,
    ],
    [
      'containerd, systemd names under the cgroupfs driver',
      `0::/system.slice/containerd.service/kubepods-burstable-pod${UID_}.slice:cri-containerd:${ID}\n`,
    ],
    [
      'CRI-O, systemd',
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/crio-${ID}.scope\n`,
    ],
    [
      'CRI-O, in a group of its own',
      `0::/kubepods.slice/kubepods-pod${UID_}.slice/crio-${ID}.scope/container\n`,
    ],
    ['CRI-O, cgroupfs', `0::/kubepods/burstable/pod${UID}/crio-${ID}\n`],
    ['Docker, systemd', `0::/kubepods.slice/kubepods-pod${UID_}.slice/docker-${ID}.scope\n`],
    [
      'kind, in a node that is a container',
      `0::/docker/${NODE}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope\n`,
    ],
    [
      'seen from a cgroup namespace',
      `0::/../../kubepods-burstable-pod${UID_}.slice/cri-containerd-${ID}.scope\n`,
    ],
    ['seen from a cgroup namespace, cgroupfs', `0::/../../pod${UID}/${ID}\n`],
    [
      'a hierarchy outside of it before',
      `12:misc:/\n5:cpuset:/docker/${NODE}\n0::/kubepods/pod${UID}/${ID}\n`,
    ],
  ])('and its container: %s', (_, text) => {
    expect(parseCgroup(text)).toEqual({ containerId: ID, podUid: UID });
  });

  it('of the kubelet itself has no uid: static pods', () => {
    const hash = '0123456789abcdef0123456789abcdef';
    expect(parseCgroup(`0::/kubepods/burstable/pod${hash}/${ID}\n`)).toEqual({ containerId: ID, podUid: '' });
  });

  it('without a container is one all the same', () => {
    expect(parseCgroup(`0::/kubepods/burstable/pod${UID}\n`)).toEqual({ containerId: '', podUid: UID });
  });
});

describe('a container without a pod', () => {
  it.each([
    [
      'Docker, cgroup v1',
      `12:pids:/docker/${ID}\n11:memory:/docker/${ID}\n0::/system.slice/containerd.service\n`,
    ],
    ['Docker, cgroup v2 by systemd', `0::/system.slice/docker-${ID}.scope\n`],
    ['Podman', `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container\n`],
    [
      'Podman, in a pod of its own',
      `0::/machine.slice/machine-libpod_pod_${NODE}.slice/libpod-${ID}.scope\n`,
    ],
    ['Docker in Docker', `0::/docker/${NODE}/docker/${ID}\n`],
  ])('%s', (_, text) => {
    expect(parseCgroup(text)).toEqual({ containerId: ID, podUid: '' });
  });
});

it.each([
  '0::/\n',
  '0::/user.slice/user-0.slice/session-1.scope\n',
  `0::/x/${ID.slice(1)}\n`,
  `0::/x/${ID}0\n`,
  `0::/tripod${UID}\n`,
  '',
])('neither: %s', (text) => {
  expect(parseCgroup(text)).toEqual({ containerId: '', podUid: '' });
});
