// What one kernel said of itself and of flowtag, and what must hold. Pure.
import type { Check } from '../../schemas/check.ts';
import type { Capability, Means } from '../../services/capture/capabilities.ts';
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

/** What attach.ts says when everything is in place. */
export const ATTACHED = 'attached';

/** What was said to an ordinary user who had these capabilities, and to one who had all but one. */
export interface RightsResult extends Means {
  readonly paranoid: number;
  readonly needed: readonly Capability[];
  readonly withAll: string;
  readonly without: Readonly<Partial<Record<Capability, string>>>;
}

/** Of the services together: broker, capture, correlator. */
export interface PipelineResult {
  readonly seconds: number;
  /** Why there is nothing below. */
  readonly failure?: string;
  readonly lost?: number;
  readonly cases?: readonly CaseResult[];
}

/** Of the article's script and every backend at once, on one program. */
export interface SideBySideResult {
  readonly seconds: number;
  readonly clients: number;
  readonly requests: number;
  /** Why there is nothing below. */
  readonly failure?: string;
  readonly cases?: readonly string[];
  readonly script?: Levels;
  readonly backends?: readonly (Levels & {
    readonly backend: string;
    readonly seesUses: boolean;
    /** What each flow says, sorted. */
    readonly flows: readonly string[];
  })[];
}
type Levels = Pick<CaseResult, 'use' | 'dial' | 'wrong' | 'problems'>;

/** Of `flowtag doctor`. */
export interface DoctorResult {
  readonly exitCode: number;
  readonly seconds: number;
  readonly checks: readonly Check[];
}

export interface KernelResult {
  readonly release: string;
  /** From power-on to the first line of the test. */
  readonly bootSeconds: number;
  readonly doctor: DoctorResult;
  readonly backends: readonly BackendResult[];
  readonly rights: readonly RightsResult[];
  readonly pipeline?: PipelineResult;
  readonly sideBySide?: SideBySideResult;
  /** What doctor says under each degree of lockdown that was asked for. */
  readonly lockdown: Readonly<Partial<Record<Lockdown, DoctorResult>>>;
}

export const LOCKDOWNS = ['integrity', 'confidentiality'] as const;
export type Lockdown = (typeof LOCKDOWNS)[number];

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

/** Whose tracepoints show no uses, and why. */
export const NO_SENDS: Readonly<Record<string, string>> = {
  '6.1': 'no tracepoint on sends before Linux 6.3',
};

/** What does not hold, each in a sentence. */
export function deviationsOf({ kernel, result, failure }: Run, budget: Budget): string[] {
  if (result === undefined) return [`${kernel}: ${failure}`];
  if (kernel in UNSUPPORTED) return deviationsOfUnsupported(kernel, result);
  const found = result.backends.flatMap((one) =>
    deviationsOfBackend(kernel, one, budget).map((problem) => `${kernel}, ${one.wanted}: ${problem}`),
  );
  found.push(
    ...result.rights.flatMap(deviationsOfRights).map((problem) => `${kernel}, ${problem}`),
    ...deviationsOfPipeline(result.pipeline).map((problem) => `${kernel}, pipeline: ${problem}`),
    ...deviationsOfLockdown(result.lockdown).map((problem) => `${kernel}, lockdown: ${problem}`),
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
  kernel: string,
  { failure, backend, seesUses, lost, verified = {}, cases = [] }: BackendResult,
  budget: Budget,
): string[] {
  if (failure !== undefined) return [failure];
  const found = lost === 0 ? [] : [`${lost} events were lost`];
  for (const [program, instructions] of Object.entries(verified))
    if (instructions > (budget[program] ?? 0))
      found.push(`${program} takes ${instructions} instructions, budget ${budget[program] ?? 'none'}`);
  const blind = !seesUses && backend === 'tracepoint' && kernel in NO_SENDS;
  found.push(...cases.filter((one) => isBad(one, blind)).map(problemOf));
  return found;
}

/** Each capability is needed, and who lacks it is told which. */
function deviationsOfRights({ backend, uprobes, paranoid, withAll, without }: RightsResult): string[] {
  const name = `${backend} with ${uprobes} uprobes, perf_event_paranoid ${paranoid}`;
  const found = withAll === ATTACHED ? [] : [`${name}: ${withAll}`];
  for (const [left, said] of Object.entries(without))
    if (said === ATTACHED) found.push(`${name}: CAP_${left} is not needed`);
    else if (!said.includes(`CAP_${left}`)) found.push(`${name}: without CAP_${left} it says: ${said}`);
  return found;
}

function deviationsOfPipeline(pipeline: PipelineResult | undefined): string[] {
  if (pipeline === undefined) return [];
  const { failure, lost, cases = [] } = pipeline;
  if (failure !== undefined) return [failure];
  const found = lost === 0 ? [] : [`${lost} events were lost`];
  return [...found, ...cases.filter((one) => isBad(one, false)).map(problemOf)];
}

/** Confidentiality forbids BPF to read memory, integrity forbids nothing that capture does. */
function deviationsOfLockdown({ integrity, confidentiality }: KernelResult['lockdown']): string[] {
  const found: string[] = [];
  if (integrity !== undefined && integrity.exitCode !== 0)
    found.push(`doctor ends with ${integrity.exitCode} under integrity, not with 0`);
  if (confidentiality === undefined) return found;
  const { exitCode, checks } = confidentiality;
  if (exitCode !== 3) found.push(`doctor ends with ${exitCode} under confidentiality, not with 3`);
  if (!checks.some(({ name, state }) => name === 'lockdown' && state === 'fail'))
    found.push('doctor does not name confidentiality as the reason');
  return found;
}

function isBad({ use, dial, wrong, repeated }: CaseResult, blind: boolean): boolean {
  return (
    use.of + dial.of === 0 ||
    wrong + repeated + dial.wrong > 0 ||
    dial.found < dial.of ||
    (use.found < use.of && !blind)
  );
}

function problemOf({ case: name, problems }: CaseResult): string {
  return `${name}: ${problems[0] ?? 'the program called nobody'}`;
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
