// Container and pod out of /proc/<pid>/cgroup, as the runtimes spell them. Pure.
//
//   cgroupfs driver       /kubepods/burstable/pod<uid>/<container>            CRI-O: crio-<container>
//   systemd driver        …/kubepods-burstable-pod<uid, _ for ->.slice/cri-containerd-<container>.scope
//   systemd name, cgroupfs driver   /…/kubepods-burstable-pod<uid>.slice:cri-containerd:<container>
// Read from within a cgroup namespace of its own, a path begins with /../ and may lack its first segments.

export interface Cgroup {
  /** 64 hex digits; '' outside of a container. */
  readonly containerId: string;
  /** '' outside of a pod, and in a static pod: its cgroup names the hash of its manifest, which no API knows. */
  readonly podUid: string;
}

const POD = /[/-]pod([0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12})(?=[/:.\n]|$)/;
/** The innermost of nested ones: a node, or a pod of Podman, may be a container itself. */
const CONTAINER = /(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])(?!.*[0-9a-f]{64})/;

export function parseCgroup(text: string): Cgroup {
  const lines = text.split('\n');
  const inPod = lines.find((line) => POD.test(line));
  const line = inPod ?? lines.find((candidate) => CONTAINER.test(candidate)) ?? '';
  return {
    containerId: CONTAINER.exec(line)?.[1] ?? '',
    podUid: (POD.exec(line)?.[1] ?? '').replaceAll('_', '-'),
  };
}
