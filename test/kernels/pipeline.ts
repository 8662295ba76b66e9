// The services as a host runs them: a broker, capture and a correlator, and the flows that anybody may subscribe to,
// held against what the program and its downstream logged.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CASES, isOf } from '../accuracy/cases.ts';
import { Recorder } from '../accuracy/recorder.ts';
import { isComplete, stable } from '../accuracy/run-case.ts';
import { flowAnswers, judge } from '../support/accuracy.ts';
import { endChild } from '../support/end-child.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { runLoad, startCases, startDownstream } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import type { CaseResult, PipelineResult } from './result.ts';

/** Emulated processors are about twenty times slower. */
const READY_MS = 240_000;
const QUIET_MS = 30_000;
const STOP_MS = 30_000;
const POLL_MS = 500;
/** For flows too many, which nobody waits for. */
const SURPLUS_MS = 2_000;

export async function runPipeline(cases: readonly string[], requests: number): Promise<PipelineResult> {
  const beganMs = performance.now();
  const seconds = (): number => (performance.now() - beganMs) / 1000;
  const ends: (() => Promise<unknown>)[] = [];
  const ended = <T extends { stop(): Promise<unknown> }>(started: T): T => {
    ends.push(() => started.stop());
    return started;
  };
  try {
    const nats = ended(await startNatsServer());
    const downstream = ended(await startDownstream());
    const server = ended(await startCases(downstream));
    const recorder = await Recorder.connect(nats.url);
    ends.push(() => recorder.close());
    ended(new Service(['correlator', '--server', nats.url]));
    const spool = await mkdtemp(join(tmpdir(), 'flowtag-spool-')); // it goes with the machine
    const options = ['--server', nats.url, '--target', String(server.pid), '--spool-dir', spool];
    const capture = ended(new Service(['capture', ...options]));
    await capture.says('executable attached');

    const chosen = CASES.filter(({ name }) => cases.includes(name));
    const path = chosen.map((one) => one.path);
    await runLoad({ server, path, requests: path.length * requests, clients: requests });
    const logs = async () => [await downstream.requests(), await server.dials()] as const;
    await stable(async () => truthOf(...(await logs())));
    const [used, dialled] = await logs();
    const judged = chosen.map((one) => {
      const ofThis = ({ requestPath }: { requestPath: string }): boolean => isOf(one, requestPath);
      const truth = truthOf(used.filter(ofThis), dialled.filter(ofThis));
      const answers = () =>
        flowAnswers(recorder.flowsOf(server.pid)).filter(({ path = '' }) => isOf(one, path));
      return { one, judgement: () => judge(truth, answers()) };
    });
    await recorder.until(() => judged.every(({ judgement }) => isComplete(judgement())), QUIET_MS);
    await sleep(SURPLUS_MS);
    return {
      seconds: seconds(),
      lost: recorder.lost,
      cases: judged.map(({ one, judgement }): CaseResult => {
        const { use, dial, wrong, repeated, problems } = judgement();
        return { case: one.name, requests, use, dial, wrong, repeated, problems };
      }),
    };
  } catch (error) {
    return { seconds: seconds(), failure: (error as Error).message };
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** One of the built services in a process of its own. */
class Service {
  private readonly child: ChildProcess;
  private readonly name: string;
  private output = '';

  constructor(args: readonly string[]) {
    this.name = args[0]!;
    const command = ['--pdeathsig', 'KILL', process.execPath, resolve('bin/flowtag.js'), ...args];
    this.child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.output = (this.output + chunk).slice(-16_000);
    });
  }

  async says(text: string): Promise<void> {
    const deadline = performance.now() + READY_MS;
    while (!this.output.includes(text)) {
      if (this.child.exitCode !== null || performance.now() > deadline)
        throw new Error(`${this.name} does not say "${text}":\n${this.output}`);
      await sleep(POLL_MS);
    }
  }

  stop(): Promise<void> {
    return endChild(this.child, STOP_MS);
  }
}
