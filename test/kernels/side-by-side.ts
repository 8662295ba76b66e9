// Every backend and the article's script at once on one program under one load: what each of them says, against the
// two logs.
import { setTimeout as sleep } from 'node:timers/promises';
import { BACKENDS } from '../../services/capture/backends.ts';
import { CASES, isOf } from '../accuracy/cases.ts';
import { isComplete, stable } from '../accuracy/run-case.ts';
import { findBpftrace, type Script, startScript } from '../bench/bpftrace.ts';
import { type Answer, type Judgement, judge } from '../support/accuracy.ts';
import { Capture } from '../support/capture.ts';
import { runLoad } from '../support/targets.ts';
import { type Truth, truthOf } from '../support/truth.ts';
import { answersOf, withTarget } from './backend.ts';
import type { SideBySideResult } from './result.ts';

/** All make a connection; they differ in how long after the request, and in who uses it later. */
const CASE_NAMES = ['fresh', 'slow', 'pool'];
/** Under emulation the script needs two minutes to attach. */
const ATTACH_MS = 400_000;
const COMPLETE_MS = 90_000;
const POLL_MS = 1_000;
/** For what bpftrace has not printed yet. */
const SURPLUS_MS = 5_000;

export async function runSideBySide(
  program: string,
  clients: number,
  requests: number,
): Promise<SideBySideResult> {
  const beganMs = performance.now();
  const seconds = (): number => (performance.now() - beganMs) / 1000;
  try {
    const measured = await measure(program, clients, requests);
    return { seconds: seconds(), clients, requests, ...measured };
  } catch (error) {
    return { seconds: seconds(), clients, requests, failure: (error as Error).message };
  }
}

async function measure(program: string, clients: number, requests: number) {
  return withTarget(program, async (server, downstream) => {
    const captures: Capture[] = [];
    let script: Script | undefined;
    const lines: string[] = [];
    try {
      for (const backend of BACKENDS) {
        const capture = await Capture.open({ backend });
        captures.push(capture);
        await capture.attach(program, server.pid);
      }
      script = await startScript(await findBpftrace(), {
        file: 'test/kernels/article.bt',
        target: program,
        attachMs: ATTACH_MS,
        onLine: (line) => void lines.push(line),
      });
      const chosen = CASES.filter(({ name }) => CASE_NAMES.includes(name));
      await runLoad({
        server,
        path: chosen.map(({ path }) => path),
        requests: chosen.length * requests,
        clients,
      });
      const logs = async () => [await downstream.requests(), await server.dials()] as const;
      await stable(async () => truthOf(...(await logs())));
      const truth = truthOf(...(await logs()));
      const answers = (capture: Capture): Answer[] =>
        answersOf(capture, server.pid).filter(({ path = '' }) => chosen.some((one) => isOf(one, path)));
      const deadline = performance.now() + COMPLETE_MS;
      const seeing = captures.filter(({ probes }) => probes.seesUses);
      while (performance.now() < deadline && !seeing.every((one) => isComplete(judge(truth, answers(one)))))
        await sleep(POLL_MS);
      await sleep(SURPLUS_MS);
      return {
        cases: chosen.map(({ name }) => name),
        script: levelsOf(judge(truth, answersOfScript(lines, truth))),
        backends: captures.map((capture) => ({
          backend: capture.probes.backend,
          seesUses: capture.probes.seesUses,
          flows: answers(capture).map(textOf).sort(),
          ...levelsOf(judge(truth, answers(capture))),
        })),
      };
    } finally {
      await script?.stop();
      for (const capture of captures) await capture.close();
    }
  });
}

function levelsOf({ use, dial, wrong, problems }: Judgement) {
  return { use, dial, wrong, problems };
}

/** What a flow says that does not differ between two who watch: times do, by microseconds. */
function textOf({ local, opened, path }: Answer): string {
  return `${opened ? 'new' : 'reused'} ${local} ${path ?? '-'}`;
}

/** It prints no time: each line is taken to mean the dial of that port, so it cannot be wrong for being late. */
function answersOfScript(lines: readonly string[], { dials }: Truth): Answer[] {
  const timeOf = new Map([...dials].map(([key, [dial]]) => [key.split(' ', 1)[0]!, dial!.beganMs] as const));
  return lines.flatMap((line) => {
    const match = /^(\S+) pid \d+ tid \d+ tcp (\S+:\d+) -> /.exec(line);
    if (match === null) return [];
    const [, path, local] = match as unknown as [string, string, string];
    return [{ local, path, opened: true, timeMs: timeOf.get(local) ?? 0 }];
  });
}
