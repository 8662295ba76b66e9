// What counts as a deviation on a kernel, on results written by hand.
import { expect, test } from 'vitest';
import type { Check } from '../../schemas/check.ts';
import { matrixPage } from './matrix.ts';
import {
  ATTACHED,
  type BackendResult,
  type CaseResult,
  deviationsOf,
  type KernelResult,
  type PipelineResult,
  type RightsResult,
  type Run,
  table,
} from './result.ts';

const ALL_FOUND: CaseResult = {
  case: 'pool',
  requests: 4,
  use: { of: 4, found: 4, right: 4, wrong: 0 },
  dial: { of: 2, found: 2, right: 2, wrong: 0 },
  wrong: 0,
  repeated: 0,
  problems: [],
};
const FENTRY: BackendResult = {
  wanted: 'auto',
  seconds: 9,
  backend: 'fentry',
  goVersion: 'go1.19.8',
  uprobes: 'perf',
  seesUses: true,
  lost: 0,
  cases: [ALL_FOUND],
};

const BUDGET = { on_uprobe: 100 };

test('everything found, by a host that doctor approves of: nothing to report', () => {
  expect(deviationsOf(run(FENTRY), BUDGET)).toEqual([]);
});

test('a use that nobody names counts where uses are seen', () => {
  const problems = ['nobody names use 127.0.0.1:9 /pool/3'];
  const cases = [{ ...ALL_FOUND, use: { of: 4, found: 3, right: 3, wrong: 0 }, problems }];
  expect(deviationsOf(run({ ...FENTRY, cases }), BUDGET)).toEqual([`6.1, auto: pool: ${problems[0]}`]);
  const blind = { ...FENTRY, wanted: 'tracepoint', backend: 'tracepoint', cases, seesUses: false };
  expect(deviationsOf(run(blind), BUDGET)).toEqual([]);
  expect(deviationsOf({ ...run(blind), kernel: '6.12' }, BUDGET)).toHaveLength(1);
});

test.each<[string, Partial<CaseResult>]>([
  ['a wrong name', { wrong: 1 }],
  ['a name that is said twice', { repeated: 1 }],
  ['a dial that nobody names', { dial: { of: 2, found: 1, right: 1, wrong: 0 } }],
  ['a dial that is named wrongly', { dial: { of: 2, found: 2, right: 2, wrong: 1 } }],
  ['a program that called nobody', { use: nothing(), dial: nothing() }],
])('%s counts on every backend', (_, difference) => {
  const cases = [{ ...ALL_FOUND, ...difference }];
  expect(deviationsOf(run({ ...FENTRY, seesUses: false, cases }), BUDGET)).toHaveLength(1);
});

test('events that were lost count', () => {
  expect(deviationsOf(run({ ...FENTRY, lost: 2 }), BUDGET)).toEqual(['6.1, auto: 2 events were lost']);
});

test('doctor must agree with what happens', () => {
  const refused = { wanted: 'auto', seconds: 1, failure: 'load the BPF programs: EACCES' };
  expect(deviationsOf(run(refused, 3), BUDGET)).toEqual(['6.1, auto: load the BPF programs: EACCES']);
  expect(deviationsOf(run(refused), BUDGET)[1]).toBe('6.1: doctor says all is well, but none of auto works');
  expect(deviationsOf(run(FENTRY, 3), BUDGET)).toEqual([
    '6.1: doctor says programs failed (exit code 3), but capture works',
  ]);
});

const RIGHTS: RightsResult = {
  backend: 'fentry',
  uprobes: 'perf',
  paranoid: 3,
  needed: ['SYS_ADMIN', 'SYS_PTRACE'],
  withAll: ATTACHED,
  without: { SYS_ADMIN: 'not permitted; run with CAP_SYS_ADMIN', SYS_PTRACE: 'run with CAP_SYS_PTRACE' },
};

test('rights must be enough, each needed, and what is missing must be named', () => {
  const problems = (rights: RightsResult): string[] => deviationsOf(withResult({ rights: [rights] }), BUDGET);
  const name = '6.1, fentry with perf uprobes, perf_event_paranoid 3';
  expect(problems(RIGHTS)).toEqual([]);
  expect(problems({ ...RIGHTS, withAll: 'EPERM' })).toEqual([`${name}: EPERM`]);
  expect(problems({ ...RIGHTS, without: { ...RIGHTS.without, SYS_PTRACE: ATTACHED } })).toEqual([
    `${name}: CAP_SYS_PTRACE is not needed`,
  ]);
  expect(problems({ ...RIGHTS, without: { ...RIGHTS.without, SYS_PTRACE: 'EACCES' } })).toEqual([
    `${name}: without CAP_SYS_PTRACE it says: EACCES`,
  ]);
  const page = matrixPage([withResult({ rights: [RIGHTS] })], []);
  expect(page).toContain('| 6.1.0 | fentry | perf | 3 | `CAP_SYS_ADMIN`, `CAP_SYS_PTRACE` |');
});

test('the services together must name everything and lose nothing', () => {
  const problems = (pipeline: PipelineResult): string[] => deviationsOf(withResult({ pipeline }), BUDGET);
  expect(problems({ seconds: 9, lost: 0, cases: [ALL_FOUND] })).toEqual([]);
  expect(problems({ seconds: 9, failure: 'no broker' })).toEqual(['6.1, pipeline: no broker']);
  expect(problems({ seconds: 9, lost: 1, cases: [{ ...ALL_FOUND, wrong: 1 }] })).toHaveLength(2);
});

test('doctor must refuse a kernel under confidentiality, name it, and accept integrity', () => {
  const { doctor } = run(FENTRY).result!;
  const named = { exitCode: 3, seconds: 1, checks: [lockdownCheck()] };
  const problems = (lockdown: KernelResult['lockdown']): string[] =>
    deviationsOf(withResult({ lockdown }), BUDGET);
  expect(problems({ integrity: doctor, confidentiality: named })).toEqual([]);
  expect(problems({ integrity: named, confidentiality: doctor })).toHaveLength(3);
});

test('a virtual machine without a result is a deviation, and has its line in the table', () => {
  const crashed: Run = { kernel: '6.12', seconds: 4, failure: 'infra/kernels/run.sh ended with 125' };
  expect(deviationsOf(crashed, BUDGET)).toEqual(['6.12: infra/kernels/run.sh ended with 125']);
  const [head, ...lines] = table([run(FENTRY), crashed])
    .trimEnd()
    .split('\n');
  expect(head).toMatch(/^kernel {2,}boot s/);
  expect(lines[0]).toMatch(/^6\.1\.0 .* fentry .* pool +4\/4 +2\/2 +100$/);
  expect(lines[1]).toContain('ended with 125');
});

function run(backend: BackendResult, exitCode = 0): Run {
  const state = exitCode === 0 ? 'ok' : 'fail';
  const doctor = {
    exitCode,
    seconds: 1,
    checks: [{ name: 'programs', state, detail: '', cure: '' }],
  } as const;
  return {
    kernel: '6.1',
    seconds: 50,
    result: { release: '6.1.0', bootSeconds: 3, doctor, backends: [backend], rights: [], lockdown: {} },
  };
}

function withResult(more: Partial<KernelResult>): Run {
  const good = run(FENTRY);
  return { ...good, result: { ...good.result!, ...more } };
}

function lockdownCheck(): Check {
  return { name: 'lockdown', state: 'fail', detail: '', cure: '' };
}

function nothing() {
  return { of: 0, found: 0, right: 0, wrong: 0 };
}

test('a program that costs the verifier more than its budget counts', () => {
  const dear = { ...FENTRY, verified: { on_uprobe: 101, tp_send: 1 } };
  expect(deviationsOf(run(dear), BUDGET)).toEqual([
    '6.1, auto: on_uprobe takes 101 instructions, budget 100',
    '6.1, auto: tp_send takes 1 instructions, budget none',
  ]);
});

test('a kernel that is listed as unsupported must be refused', () => {
  const refused = { wanted: 'auto', seconds: 1, failure: 'load the BPF programs: EINVAL' };
  expect(deviationsOf({ ...run(refused, 3), kernel: '5.10' }, BUDGET)).toEqual([]);
  expect(deviationsOf({ ...run(FENTRY), kernel: '5.10' }, BUDGET)).toHaveLength(2);
});
