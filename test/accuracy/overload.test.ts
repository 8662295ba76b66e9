// More events than the ring can hold while nobody reads it: what is said stays right, what is missing was counted.
import { expect, test } from 'vitest';
import { flowAnswers, judge } from '../support/accuracy.ts';
import { runLoad, startCases, startDownstream, targetPath } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { Up } from '../support/up.ts';
import { Recorder, sum } from './recorder.ts';
import { stable } from './run-case.ts';

const PATHS = ['/fresh', '/pool', '/slowpool', '/h2', '/rawpool', '/nested/3'];
const REQUESTS = 6_000;
const CLIENTS = 200;
const QUIET_MS = 2_000;

test('precision stays 100 %, and every missing flow is a counted loss', async () => {
  process.env.FLOWTAG_CAPTURE_RING_MIB = '1'; // the smallest
  const up = await Up.start(['--target', targetPath('cases')]).finally(() => {
    delete process.env.FLOWTAG_CAPTURE_RING_MIB;
  });
  const recorder = await Recorder.open(up);
  const downstream = await startDownstream();
  const server = await startCases(downstream);
  try {
    await runLoad({ server, path: PATHS, requests: 60, clients: 10 });
    const capture = await up.pidOf('capture');
    process.kill(capture, 'SIGSTOP');
    try {
      await runLoad({ server, path: PATHS, requests: REQUESTS, clients: CLIENTS, first: 1_000 });
    } finally {
      process.kill(capture, 'SIGCONT');
    }
    await recorder.until(() => false, QUIET_MS);
    await runLoad({ server, path: PATHS, requests: 60, clients: 10, first: 100_000 });
    const truth = await stable(async () => truthOf(await downstream.requests(), await server.dials()));
    await recorder.until(() => false, QUIET_MS);

    const answers = flowAnswers(recorder.flowsOf(server.pid));
    const { wrong, repeated, dial, unnamed, details } = judge(truth, answers);
    expect({ wrong, repeated, dialsWrong: dial.wrong }).toEqual({ wrong: 0, repeated: 0, dialsWrong: 0 });
    for (const { of, right } of Object.values(details)) expect(right).toBe(of);

    // One flow for each (connection, request); a lost start leaves a flow that says so.
    const flows = new Set([...truth.uses.keys(), ...truth.dials.keys()]);
    const said = new Set(answers.map(({ local, path }) => `${local} ${path}`));
    const missing = [...flows].filter((flow) => !said.has(flow)).length;
    const { captured, dropped } = recorder.ledger;
    expect(missing).toBeGreaterThan(0); // else this tested nothing
    expect(missing).toBeLessThanOrEqual(dropped['ring_full.socket']! + (unnamed.lost_event ?? 0));
    expect(sum(captured)).toBe(recorder.received + sum(dropped));
    const late = [...flows].filter((flow) => /\/1000\d\d$/.test(flow));
    expect(late.filter((flow) => !said.has(flow))).toEqual([]); // it recovers
  } finally {
    await server.stop();
    await downstream.stop();
    await recorder.close();
    await up.stop();
  }
}, 120_000);
