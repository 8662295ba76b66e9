// One case on the real pipeline: a new program, a load, and what flowtag and the keyed rules say about it.
import { setTimeout as sleep } from 'node:timers/promises';
import { flowAnswers, type Judgement, judge } from '../support/accuracy.ts';
import { type Downstream, runLoad, startCases, startDownstream } from '../support/targets.ts';
import { type Truth, truthOf } from '../support/truth.ts';
import type { Case } from './cases.ts';
import type { Recorder } from './recorder.ts';

export interface Judgements {
  readonly flowtag: Judgement;
  /** The same events, given to the latest request of the process, or of the thread. */
  readonly process: Judgement;
  readonly thread: Judgement;
  /** Events that capture counted as dropped in the meantime. */
  readonly lost: number;
}

export interface Run {
  readonly recorder: Recorder;
  readonly program: string;
  readonly requests: number;
  readonly clients: number;
}

const STABLE_MS = 500;
const QUIET_MS = 3_000;
/** For answers too many, which nobody waits for. */
const SURPLUS_MS = 300;

export async function runCase(one: Case, run: Run): Promise<Judgements> {
  const downstream = await startDownstream();
  const server = await startCases(downstream, { program: run.program, ...one.options }).catch(
    stopping(downstream),
  );
  try {
    return await judged(run.recorder, server.pid, async () => {
      const { requests, clients } = run;
      await runLoad({ server, path: one.path, requests, clients, traceparent: true, ...one.load });
      await sleep(one.tailMs ?? 0);
      return stable(async () => truthOf(await downstream.requests(), await server.dials()));
    });
  } finally {
    await server.stop();
    await downstream.stop();
  }
}

/** Drives, waits until every item of truth is found or nothing comes any more, and judges. */
export async function judged(
  recorder: Recorder,
  pid: number,
  drive: () => Promise<Truth>,
): Promise<Judgements> {
  recorder.clear();
  const lostBefore = recorder.lost;
  const truth = await drive();
  const flowtag = (): Judgement => judge(truth, flowAnswers(recorder.flowsOf(pid)));
  await recorder.until(() => isComplete(flowtag()), QUIET_MS);
  await sleep(SURPLUS_MS);
  return {
    flowtag: flowtag(),
    process: judge(truth, recorder.rules.answers(pid, 'process')),
    thread: judge(truth, recorder.rules.answers(pid, 'thread')),
    lost: recorder.lost - lostBefore,
  };
}

/** The truth, when nobody adds to it any more. */
export async function stable(read: () => Promise<Truth>): Promise<Truth> {
  for (let size = -1; ; await sleep(STABLE_MS)) {
    const truth = await read();
    const now = truth.uses.size + truth.dials.size;
    if (now === size) return truth;
    size = now;
  }
}

export function isComplete({ use, dial }: Judgement): boolean {
  return use.found === use.of && dial.found === dial.of;
}

/** What could not start must not leave the one before it behind. */
export function stopping(downstream: Downstream): (error: unknown) => Promise<never> {
  return async (error) => {
    await downstream.stop();
    throw error;
  };
}
