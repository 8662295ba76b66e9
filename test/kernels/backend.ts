// One backend on this kernel: probes on a program, a mixed load, and each answer against the two logs.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '../../services/capture/backends.ts';
import { CASES, isOf } from '../accuracy/cases.ts';
import { isComplete, stable, stopping } from '../accuracy/run-case.ts';
import { type Answer, judge } from '../support/accuracy.ts';
import { Capture, type SocketRow } from '../support/capture.ts';
import { bpfPrograms } from '../support/kernel-bpf.ts';
import { type Cases, type Downstream, runLoad, startCases, startDownstream } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import type { BackendResult, CaseResult } from './result.ts';

export interface Plan {
  readonly cases: readonly string[];
  readonly requests: number;
  readonly clients: number;
  /** The program with a path for each case, and with which Go it was built. */
  readonly program: string;
}

/** Emulated processors are about twenty times slower. */
const COMPLETE_MS = 60_000;
const POLL_MS = 1_000;
/** For answers too many, which nobody waits for. */
const SURPLUS_MS = 2_000;
/** Of what the verifier said: its reason is at the end. */
const MAX_LOG_LINES = 40;

export async function runBackend(wanted: Backend | 'auto', plan: Plan): Promise<BackendResult> {
  const beganMs = performance.now();
  const seconds = (): number => (performance.now() - beganMs) / 1000;
  try {
    const outcome = await withTarget(plan.program, (server, downstream) =>
      measure(wanted, plan, server, downstream),
    );
    return { wanted, seconds: seconds(), ...outcome };
  } catch (error) {
    const { message, cause } = error as Error;
    const details = cause instanceof Error ? cause.message.split('\n').slice(-MAX_LOG_LINES) : [];
    return { wanted, seconds: seconds(), failure: message, details };
  }
}

export async function withTarget<T>(
  program: string,
  use: (server: Cases, downstream: Downstream) => Promise<T>,
): Promise<T> {
  const downstream = await startDownstream();
  const server = await startCases(downstream, { program }).catch(stopping(downstream));
  try {
    return await use(server, downstream);
  } finally {
    await server.stop();
    await downstream.stop();
  }
}

async function measure(
  wanted: Backend | 'auto',
  { cases, requests, clients, program }: Plan,
  server: Cases,
  downstream: Downstream,
): Promise<Omit<BackendResult, 'wanted' | 'seconds'>> {
  const capture = await Capture.open({ backend: wanted });
  try {
    const { goVersion } = await capture.attach(program, server.pid);
    const chosen = CASES.filter(({ name }) => cases.includes(name));
    const path = chosen.map((one) => one.path);
    await runLoad({ server, path, requests: path.length * requests, clients });
    const logs = async () => [await downstream.requests(), await server.dials()] as const;
    await stable(async () => truthOf(...(await logs())));
    const [used, dialled] = await logs();

    const judged = chosen.map((one) => {
      const ofThis = ({ requestPath }: { requestPath: string }): boolean => isOf(one, requestPath);
      const truth = truthOf(used.filter(ofThis), dialled.filter(ofThis));
      const answers = () => answersOf(capture, server.pid).filter(({ path = '' }) => isOf(one, path));
      return { one, judgement: () => judge(truth, answers()) };
    });
    const deadline = performance.now() + (capture.probes.seesUses ? COMPLETE_MS : 0);
    while (performance.now() < deadline && !judged.every(({ judgement }) => isComplete(judgement())))
      await sleep(POLL_MS);
    await sleep(SURPLUS_MS);

    const { dropped } = capture.ledger();
    return {
      backend: capture.probes.backend,
      goVersion,
      uprobes: capture.probes.uprobes,
      seesUses: capture.probes.seesUses,
      verified: Object.fromEntries(
        bpfPrograms().map(({ name, verifiedInstructions }) => [name, verifiedInstructions]),
      ),
      lost: Object.values(dropped).reduce((total, count) => total + count, 0),
      cases: judged.map(({ one, judgement }): CaseResult => {
        const { use, dial, wrong, repeated, problems } = judgement();
        return { case: one.name, requests, use, dial, wrong, repeated, problems };
      }),
    };
  } finally {
    await capture.close();
  }
}

/** As the correlator does: by the id that the probes gave; of a request's uses of one connection the first. */
export function answersOf(capture: Capture, pid: number): Answer[] {
  const paths = new Map(capture.starts.map(({ id, path }) => [id, path]));
  const answer = ({ local, timeNs, requestId }: SocketRow, opened: boolean): Answer => ({
    local,
    timeMs: Number(timeNs / 1_000_000n),
    opened,
    path: paths.get(requestId),
  });
  const pairOf = ({ requestId, connection }: SocketRow): string => `${requestId} ${connection}`;
  const connects = capture.connects.filter((row) => row.pid === pid);
  const said = new Set(connects.map(pairOf));
  const uses = capture.uses.filter((row) => {
    const pair = pairOf(row);
    return row.pid === pid && !said.has(pair) && said.add(pair);
  });
  return [...connects.map((row) => answer(row, true)), ...uses.map((row) => answer(row, false))];
}
