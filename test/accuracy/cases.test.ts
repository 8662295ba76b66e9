// Every case of test/targets/cases in one mixed load, so that requests of all kinds interleave in one process:
// each use and each dial must be named, with caller, handler and trace id, and nothing may be named wrongly.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, flowAnswers, judge } from '../support/accuracy.ts';
import {
  type Cases,
  type DialRecord,
  type Downstream,
  type DownstreamRequest,
  runLoad,
  startCases,
  startDownstream,
} from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { Up } from '../support/up.ts';
import { buildCases, findToolchain, systemToolchain, type Toolchain } from './builds.ts';
import { type Case, isOf, possibleCases } from './cases.ts';
import { Recorder } from './recorder.ts';
import { isComplete, stable } from './run-case.ts';

const NEWER = '1.24';
const REQUESTS = 80; // of each case
const CLIENTS = 200;
const SETUP_MS = 180_000; // two builds, and toolchains that may have to be fetched
const QUIET_MS = 3_000;
const CASES = possibleCases();
const REACHABLE = CASES.filter(({ outOfReach }) => outOfReach === undefined);

const toolchains: Record<string, () => Promise<Toolchain | undefined>> = {
  "the system's Go": systemToolchain,
  [`Go ${NEWER}`]: () => findToolchain(NEWER).catch(() => undefined),
};

describe.each(Object.keys(toolchains))('%s', (name) => {
  let stops: (() => Promise<unknown>)[] = [];
  let requests: readonly DownstreamRequest[] = [];
  let dials: readonly DialRecord[] = [];
  let answers: readonly Answer[] = [];
  let lost = 0;
  let missing = false;

  beforeAll(async () => {
    const toolchain = await toolchains[name]!();
    missing = toolchain === undefined;
    if (toolchain === undefined) return;
    const program = await buildCases(toolchain, 'plain');
    const up = await Up.start(['--target', program]);
    stops.push(() => up.stop());
    const recorder = await Recorder.open(up);
    stops.push(() => recorder.close());
    const downstream = await startDownstream();
    stops.push(() => downstream.stop());
    const server = await startCases(downstream, { program, tls: true, idleGoroutines: 30_000 });
    stops.push(() => server.stop());
    await drive(server);
    const truth = await readTruth(downstream, server);
    const said = () => flowAnswers(recorder.flowsOf(server.pid));
    const reachable = REACHABLE.map((one) => ofCase(one, truth.requests, truth.dials));
    await recorder.until(() => reachable.every((one) => isComplete(judge(one, said()))), QUIET_MS);
    await sleep(300); // for answers too many
    ({ requests, dials } = truth);
    answers = said();
    lost = recorder.lost;
  }, SETUP_MS);

  afterAll(async () => {
    for (const stop of stops.reverse()) await stop();
    stops = [];
  });

  test.for(REACHABLE)('$name', (one, { skip }) => {
    if (missing) skip(`${name} is not there and cannot be fetched (infra/go-toolchains.sh)`);
    const truth = ofCase(one, requests, dials);
    const asked = new Set([...truth.uses.keys(), ...truth.dials.keys()].map((key) => key.split(' ')[1]));
    expect(asked.size).toBe(one.name === 'none' ? 0 : REQUESTS);
    const judgement = judge(truth, answersOf(one, answers));
    expect(judgement.problems).toEqual([]);
    expect(judgement).toMatchObject({ wrong: 0, repeated: 0, dial: { wrong: 0 } });
    expect(isComplete(judgement)).toBe(true);
    for (const { of, right } of Object.values(judgement.details)) {
      expect(of).toBeGreaterThanOrEqual(asked.size);
      expect(right).toBe(of);
    }
    const traced = [...truth.details.values()].filter(([call]) => call!.trace !== '');
    expect(traced).toHaveLength(asked.size / 2);
  });

  test.for(CASES.filter((one) => one.outOfReach !== undefined))('$name: never wrong', (one, { skip }) => {
    if (missing) skip(`${name} is not there and cannot be fetched (infra/go-toolchains.sh)`);
    const truth = ofCase(one, requests, dials);
    expect(truth.details.size).toBe(REQUESTS);
    const { wrong, dial, repeated } = judge(truth, answersOf(one, answers));
    expect({ wrong, repeated, dialsWrong: dial.wrong }).toEqual({ wrong: 0, repeated: 0, dialsWrong: 0 });
  });

  test('what has no request says why, and nothing was lost', ({ skip }) => {
    if (missing) skip(`${name} is not there and cannot be fetched (infra/go-toolchains.sh)`);
    const { unnamed } = judge(truthOf([]), answers);
    for (const reason of Object.keys(unnamed)) expect(['no_request', 'channel']).toContain(reason);
    expect(lost).toBe(0);
  });
});

/** All at once, except for what needs another kind of client. */
async function drive(server: Cases): Promise<void> {
  const isPlain = ({ load }: Case): boolean => load === undefined;
  const path = CASES.filter(isPlain).map((one) => one.path);
  const load = { server, clients: CLIENTS, traceparent: true };
  await Promise.all([
    runLoad({ ...load, path, requests: path.length * REQUESTS }),
    ...CASES.filter((one) => !isPlain(one)).map((one) =>
      runLoad({ ...load, path: one.path, requests: REQUESTS, clients: 20, ...one.load }),
    ),
  ]);
  await sleep(Math.max(...CASES.map(({ tailMs = 0 }) => tailMs)));
}

async function readTruth(downstream: Downstream, server: Cases) {
  let requests: readonly DownstreamRequest[] = [];
  let dials: readonly DialRecord[] = [];
  await stable(async () => {
    requests = await downstream.requests();
    dials = await server.dials();
    return truthOf(requests, dials);
  });
  return { requests, dials };
}

function ofCase(one: Case, requests: readonly DownstreamRequest[], dials: readonly DialRecord[]) {
  const ofThis = ({ requestPath }: { readonly requestPath: string }): boolean => isOf(one, requestPath);
  return truthOf(requests.filter(ofThis), dials.filter(ofThis));
}

function answersOf(one: Case, answers: readonly Answer[]): Answer[] {
  return answers.filter(({ path }) => path !== undefined && isOf(one, path));
}
