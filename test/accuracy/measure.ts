// One program on one `up`: its cases one after the other. A failed one is told and recorded, and the next one runs.
import { Up } from '../support/up.ts';
import { Recorder } from './recorder.ts';
import { deviationOf, lineOf } from './report.ts';
import type { CaseResult, ResultFiles, Subject } from './results.ts';
import type { Judgements } from './run-case.ts';

export interface Job {
  readonly head: Omit<CaseResult, 'judgements' | 'failure'>;
  run(recorder: Recorder): Promise<Judgements>;
}

export interface Measurement {
  readonly subject: Subject;
  /** Gives the path of the program. */
  readonly build: () => Promise<string>;
  readonly jobs: readonly Job[];
}

export async function measure(
  { subject, build, jobs }: Measurement,
  results: ResultFiles,
  say: (text: string) => void,
): Promise<void> {
  const name = `${subject.program}, ${subject.build}`;
  const missing = jobs.filter(({ head }) => !results.has(subject, head));
  if (missing.length === 0) return say(`${name}: there already`);
  const record = (job: Job, outcome: Pick<CaseResult, 'judgements' | 'failure'>, beganMs: number): void => {
    const result = { ...job.head, ...outcome };
    results.add(subject, result);
    const took = ((performance.now() - beganMs) / 1000).toFixed(1);
    say(`${name}, ${job.head.case} (${took} s): ${lineOf(result)}`);
    for (const deviation of deviationOf(result)) say(`  NOT AS IT SHOULD BE: ${deviation}`);
  };
  let up: Up | undefined;
  let recorder: Recorder | undefined;
  try {
    say(`${name}: building`);
    up = await Up.start(['--target', await build()]);
    recorder = await Recorder.open(up);
    for (const job of missing) {
      const beganMs = performance.now();
      const outcome = await job.run(recorder).then((judgements) => ({ judgements }), asFailure);
      record(job, outcome, beganMs);
      up.stdout = ''; // a long run prints more than one string can hold
    }
  } catch (error) {
    for (const job of missing.filter(({ head }) => !results.has(subject, head)))
      record(job, asFailure(error), performance.now());
  } finally {
    await recorder?.close();
    await up?.stop();
  }
}

function asFailure(error: unknown): { failure: string } {
  return { failure: (error as Error).message.replaceAll(/\s+/g, ' ').slice(0, 500) };
}
