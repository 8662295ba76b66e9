// Names of processes by which another one on the same machine can tell that they are gone. What a dead process held
// need not run out before its successor goes on.
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';

const MACHINE = machineOf();

/** `<pid>_<start, in ticks since boot>_<boot and namespace of pids>`; without /proc it tells nothing, but is unique. */
export function processIdentity(startedMs: number): string {
  const start = MACHINE === undefined ? startedMs : startOf(process.pid);
  return `${process.pid}_${start}_${MACHINE ?? 'elsewhere'}`;
}

/** Certainly gone; false also when it cannot be known from here. `name` ends with an identity. */
export function isGone(name: string): boolean {
  const [, pid, start, machine] = /(\d+)_(\d+)_([0-9a-f]{12})$/.exec(name) ?? [];
  return machine !== undefined && machine === MACHINE && startOf(Number(pid)) !== Number(start);
}

function machineOf(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1');
    return createHash('sha256')
      .update(boot + readlinkSync('/proc/self/ns/pid'))
      .digest('hex')
      .slice(0, 12);
  } catch {
    return undefined;
  }
}

/** Undefined when there is no such process, or nothing but its exit code is left of it. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): state is field 3, start time field 22; the name before them may hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}
