// Linux capabilities: which this process has, and which it lacks for what it is about to do.
import type { Backend } from './backends.ts';

/** linux/capability.h */
const NUMBERS = { SYS_PTRACE: 19, SYS_ADMIN: 21, PERFMON: 38, BPF: 39 } as const;
export type Capability = keyof typeof NUMBERS;

export interface Means {
  readonly backend: Backend;
  readonly uprobes: 'multi' | 'perf';
}

/**
 * The least that capture needs (test/bpf/privileges.test.ts). Perf events: uprobes need SYS_ADMIN on every kernel, kprobes
 * where perf_event_paranoid is above 2, as in Debian. SYS_PTRACE: to read /proc/PID/exe of others.
 */
export function neededFor({ backend, uprobes }: Means): Capability[] {
  const throughPerf = uprobes === 'perf' || backend === 'kprobe';
  return ['BPF', 'PERFMON', 'SYS_PTRACE', ...(throughPerf ? (['SYS_ADMIN'] as const) : [])];
}

/** From the text of /proc/self/status; SYS_ADMIN includes BPF and PERFMON, as it did before Linux 5.8. */
export function missingFrom(status: string, needed: readonly Capability[]): Capability[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (name: Capability): boolean => ((effective >> BigInt(NUMBERS[name])) & 1n) === 1n;
  return needed.filter((name) => !has(name) && !(name !== 'SYS_PTRACE' && has('SYS_ADMIN')));
}

/** `CAP_BPF, CAP_PERFMON` */
export function namesOf(capabilities: readonly Capability[]): string {
  return capabilities.map((name) => `CAP_${name}`).join(', ');
}
