// Linux capabilities: which this process has, and which it lacks for what it is about to do.
import type { Backend } from './backends.ts';

/** linux/capability.h */
const NUMBERS = { SYS_PTRACE: 19, SYS_ADMIN: 21, PERFMON: 38, BPF: 39 } as const;
export type Capability = keyof typeof NUMBERS;

export interface Means {
  readonly backend: Backend;
  readonly uprobes: 'multi' | 'perf';
}

export const PARANOID = '/proc/sys/kernel/perf_event_paranoid';

/**
 * The least that capture needs, tried on each kernel by `npm run test:kernels -- --part rights`. Perf events: uprobes need
 * SYS_ADMIN on every kernel, kprobes where `perf_event_paranoid` is above 2, as in Debian (the default here); it includes
 * BPF and PERFMON. SYS_PTRACE: to read /proc/PID/exe of others.
 */
export function neededFor({ backend, uprobes }: Means, paranoid = 3): Capability[] {
  const throughPerf = uprobes === 'perf' || (backend === 'kprobe' && paranoid > 2);
  return [...(throughPerf ? (['SYS_ADMIN'] as const) : (['BPF', 'PERFMON'] as const)), 'SYS_PTRACE'];
}

/** From the text of /proc/self/status; SYS_ADMIN includes BPF and PERFMON, as it did before Linux 5.8. */
export function missingFrom(status: string, needed: readonly Capability[]): Capability[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (name: Capability): boolean => ((effective >> BigInt(NUMBERS[name])) & 1n) === 1n;
  return needed.filter((name) => !has(name) && !(name !== 'SYS_PTRACE' && has('SYS_ADMIN')));
}

/** Whether system calls of the process whose status this is pass a seccomp filter. */
export function isFiltered(status: string): boolean {
  return /^Seccomp:\s*2$/m.test(status);
}

/** `CAP_BPF, CAP_PERFMON` */
export function namesOf(capabilities: readonly Capability[]): string {
  return capabilities.map((name) => `CAP_${name}`).join(', ');
}
