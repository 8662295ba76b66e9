// What a process's own files tell of its Kubernetes pod, without any API server. Nothing is guessed: '' is unknown.
//
// Only mount points are read, never paths of the container's choice: there, a symbolic link would lead into this
// process's root. What is read is as long as a name may be, and from a regular file.
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs';

export interface Pod {
  readonly namespace: string;
  readonly name: string;
}

export const NO_POD: Pod = { namespace: '', name: '' };

const SERVICE_ACCOUNT = '/secrets/kubernetes.io/serviceaccount';
const HOST_NAME = '/etc/hostname';
/** DNS label (RFC 1123). */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const MAX_LABEL = 63;

/** Of a process in a pod's cgroup. `proc` is /proc. */
export function readPod(pid: number, proc = '/proc'): Pod {
  const own = `${proc}/${pid}`;
  const mounts = mountPoints(text(() => readFileSync(`${own}/mountinfo`, 'utf8')));
  const account = mounts.find((path) => path.endsWith(SERVICE_ACCOUNT));
  return {
    namespace: account === undefined ? '' : label(`${own}/root${account}/namespace`),
    name: mounts.includes(HOST_NAME) && !onHostNetwork(own, proc) ? podName(`${own}/root${HOST_NAME}`) : '',
  };
}

/** Field 5 of /proc/<pid>/mountinfo (proc(5)); the kernel writes blanks in it as octal escapes, which no name of ours has. */
export function mountPoints(mountinfo: string): string[] {
  return mountinfo.split('\n').flatMap((line) => line.split(' ')[4] ?? []);
}

/** There, the host name is the node's. */
function onHostNetwork(own: string, proc: string): boolean {
  const net = text(() => readlinkSync(`${own}/ns/net`));
  return net === '' || net === text(() => readlinkSync(`${proc}/1/ns/net`));
}

/** The kubelet makes it the host name, cut at 63 bytes: one as long as that may have been cut. */
function podName(path: string): string {
  const name = label(path);
  return name.length < MAX_LABEL ? name : '';
}

function label(path: string): string {
  const name = text(() => readShort(path)).trim();
  return LABEL.test(name) ? name : '';
}

/** Not blocking: where a file is expected there may be a pipe. */
function readShort(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!fstatSync(file).isFile()) return '';
    const bytes = Buffer.alloc(MAX_LABEL + 2);
    return bytes.toString('latin1', 0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}

function text(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
