import { expect, it } from 'vitest';
import { missingFrom, namesOf, neededFor } from '../../../services/capture/capabilities.ts';

const statusWith = (capEff: string) => `Name:\tnode\nUid:\t65534\nCapPrm:\t${capEff}\nCapEff:\t${capEff}\n`;
const MULTI = neededFor({ backend: 'tracepoint', uprobes: 'multi' });

it('finds what a process lacks', () => {
  expect(missingFrom(statusWith('000001ffffffffff'), MULTI)).toEqual([]);
  expect(missingFrom(statusWith('0000000000000000'), MULTI)).toEqual(['BPF', 'PERFMON', 'SYS_PTRACE']);
  expect(missingFrom(statusWith('000000c000080000'), MULTI)).toEqual([]); // 39, 38, 19
  expect(missingFrom(statusWith('0000008000080000'), MULTI)).toEqual(['PERFMON']);
});

it('takes SYS_ADMIN for BPF and PERFMON, as kernels do', () => {
  expect(missingFrom(statusWith('0000000000280000'), MULTI)).toEqual([]); // 21, 19
  expect(missingFrom(statusWith('0000000000200000'), MULTI)).toEqual(['SYS_PTRACE']);
});

it('asks for SYS_ADMIN where perf events are opened', () => {
  expect(neededFor({ backend: 'kprobe', uprobes: 'multi' })).toEqual(['SYS_ADMIN', 'SYS_PTRACE']);
  expect(neededFor({ backend: 'kprobe', uprobes: 'multi' }, 2)).toEqual(MULTI);
  expect(neededFor({ backend: 'fentry', uprobes: 'perf' })).toEqual(['SYS_ADMIN', 'SYS_PTRACE']);
  expect(neededFor({ backend: 'fentry', uprobes: 'multi' })).not.toContain('SYS_ADMIN');
});

it('lacks everything where there is nothing to read', () => {
  expect(namesOf(missingFrom('', MULTI))).toBe('CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE');
});
