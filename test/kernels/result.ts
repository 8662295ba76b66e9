// What one kernel said of itself and of flowtag, and what must hold. Pure.
import type { Check } from '../../schemas/check.ts';
import { type Level, precision } from '../support/accuracy.ts';

export interface CaseResult {
  readonly case: string;
  readonly requests: number;
  readonly use: Level;
  readonly dial: Level;
  readonly wrong: number;
  readonly repeated: number;
  readonly problems: readonly string[];
}

export interface BackendResult {
  /** As it was asked for. */
  readonly wanted: string;
  /** That the program was built with. */
  readonly goVersion?: string;
  readonly seconds: number;
  /** Why there is nothing below. */
  readonly failure?: string;
  readonly details?: readonly string[];
  readonly backend?: string;
  readonly uprobes?: string;
  /** Uses of open connections are seen, not only their begin and end. */
  readonly seesUses?: boolean;
  /** Instructions that the verifier processed, by program; 0 where the kernel does not tell (before 5.16). */
  readonly verified?: Readonly<Record<string, number>>;
  /** Events that the probes counted as dropped. */
  readonly lost?: number;
  readonly cases?: readonly CaseResult[];
}

export interface KernelResult {
  readonly release: string;
  /** From power-on to the first line of the test. */
  readonly bootSeconds: number;
  readonly doctor: { readonly exitCode: number; readonly seconds: number; readonly checks: readonly Check[] };
  readonly backends: readonly BackendResult[];
}

/** Of one virtual machine. */
export interface Run {
  readonly kernel: string;
  readonly seconds: number;
  readonly result?: KernelResult;
  /** Why there is no result. */
  readonly failure?: string;
}

/** Most instructions that the verifier may process, by program. */
export type Budget = Readonly<Record<string, number>>;

/** Too old, and why: that every backend and doctor refuse it is how it should be. */
export const UNSUPPORTED: Readonly<Record<string, string>> = {
  '5.10': 'its BPF has no attach cookies and no bpf_task_pt_regs (Linux 5.15)',
};

/** What does not hold, each in a sentence. */
export function deviationsOf({ kernel, result, failure }: Run, budget: Budget): string[] {
  if (result === undefined) return [`${kernel}: ${failure}`];
  if (kernel in UNSUPPORTED) return deviationsOfUnsupported(kernel, result);
  const found = result.backends.flatMap((one) =>
    deviationsOfBackend(one, budget).map((problem) => `${kernel}, ${one.wanted}: ${problem}`),
  );
  const { exitCode, checks } = result.doctor;
  const works = result.backends.some(({ failure }) => failure === undefined);
  if (works !== (exitCode === 0)) {
    const failed = checks.filter(({ state }) => state === 'fail').map(({ name }) => name);
    const says = exitCode === 0 ? 'all is well' : `${failed.join(', ')} failed (exit code ${exitCode})`;
    const wanted = result.backends.map((one) => one.wanted).join(', ');
    found.push(`${kernel}: doctor says ${says}, but ${works ? 'capture works' : `none of ${wanted} works`}`);
  }
  return found;
}

function deviationsOfUnsupported(kernel: string, { backends, doctor }: KernelResult): string[] {
  const working = backends.filter(({ failure }) => failure === undefined);
  return [
    ...working.map(({ wanted }) => `${kernel}, ${wanted}: works, and is listed as unsupported`),
    ...(doctor.exitCode === 3 ? [] : [`${kernel}: doctor ends with ${doctor.exitCode}, not with 3`]),
  ];
}

function deviationsOfBackend(
  { failure, wanted, seesUses, lost, verified = {}, cases = [] }: BackendResult,
  budget: Budget,
): string[] {
  if (failure !== undefined) return [failure];
  const found = lost === 0 ? [] : [`${lost} events were lost`];
  for (const [program, instructions] of Object.entries(verified))
    if (instructions > (budget[program] ?? 0))
      found.push(`${program} takes ${instructions} instructions, budget ${budget[program] ?? 'none'}`);
  for (const one of cases) {
    const { use, dial, wrong, repeated, problems } = one;
    const bad =
      use.of + dial.of === 0 ||
      wrong + repeated + dial.wrong > 0 ||
      dial.found < dial.of ||
      ((seesUses || wanted !== 'tracepoint') && use.found < use.of);
    if (bad) found.push(`${one.case}: ${problems[0] ?? 'the program called nobody'}`);
  }
  return found;
}

const HEAD = [
  'kernel',
  'boot s',
  'run s',
  'backend',
  'Go',
  'uprobes',
  'case',
  'uses found',
  'dials found',
  'precision %',
];

/** A line for each case. */
export function table(runs: readonly Run[]): string {
  const rows = [HEAD, ...runs.flatMap(rowsOf)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function rowsOf({ kernel, seconds, result, failure }: Run): string[][] {
  const head = [result?.release ?? kernel, result?.bootSeconds.toFixed(1) ?? '–', seconds.toFixed(1)];
  const nothing = (reason: string): string[] => [reason, '–', '–', '–', '–', '–', '–'];
  if (result === undefined) return [[...head, ...nothing(failure ?? 'no result')]];
  return result.backends.flatMap((one) => {
    if (one.cases === undefined) return [[...head, ...nothing(`${one.wanted}: not there`)]];
    return one.cases.map(({ case: name, use, dial }) => [
      ...head,
      one.backend!,
      one.goVersion!,
      one.uprobes!,
      name,
      `${use.found}/${use.of}`,
      `${dial.found}/${dial.of}`,
      percent(precision({ ...use, right: use.right + dial.right, wrong: use.wrong + dial.wrong })),
    ]);
  });
}

function percent(ratio: number | undefined): string {
  return ratio === undefined ? '–' : String(Math.floor(ratio * 10_000) / 100);
}
