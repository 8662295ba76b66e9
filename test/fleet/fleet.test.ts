// The fault table in a short form: the same rows, rig and audit as `npm run reliability`, ten seconds each.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hostileBreaches, runHostile } from './hostile.ts';
import { Rig } from './rig.ts';
import { ROWS } from './rows.ts';
import { breaches, type Outcome, type Plan, type Row, runRow } from './run-row.ts';
import { surplusSql } from './truth.ts';

const PLAN: Plan = { hosts: 8, loadMs: 9_000, awayMs: 4_000 };
const PATIENCE_MS = 300_000;
/** Each of these kills two at once, or for longer: what the rows of one death show is among it. */
const SERVICE_ROWS = [
  'capture-correlator',
  'correlator-sink',
  'nats-store',
  'nats-restart',
  'store-away',
  'scale',
];
const HOSTILE = { messages: 50_000, seed: 20_261_127 };

function expectNothingWrong(on: Rig, row: Row, outcome: Outcome): void {
  expect(breaches(row, outcome), `${JSON.stringify(outcome, undefined, 1)}\n${on.logs()}`).toEqual([]);
  expect(outcome.flows).toBeGreaterThan(0);
}

describe('every flow is stored once and right', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.open({ hosts: PLAN.hosts });
  }, PATIENCE_MS);
  afterAll(() => rig?.close());

  test('faults of hosts and their links, side by side', { timeout: PATIENCE_MS }, async () => {
    const rows = ROWS.filter(({ touchesHosts }) => touchesHosts !== undefined);
    const run = (row: Row): Promise<Outcome> => runRow(rig, row, { ...PLAN, hosts: row.touchesHosts! });
    const outcomes = await Promise.all(rows.map(run));
    for (const [n, outcome] of outcomes.entries()) expectNothingWrong(rig, rows[n]!, outcome);
    const full = outcomes[rows.findIndex(({ overflows }) => overflows)]!;
    expect(full.countedLost).toBeGreaterThan(0); // or that row shows nothing
  });

  test.each(SERVICE_ROWS.map((name) => ROWS.find((row) => row.name === name)!))(
    '$title',
    { timeout: PATIENCE_MS },
    async (row) => {
      expectNothingWrong(rig, row, await runRow(rig, row, PLAN));
    },
  );

  test('and once all is over, none came a second time', async () => {
    for (const table of ['flows', 'requests'] as const)
      expect(await rig.sql(surplusSql(table))).toEqual([['0']]);
  });
});

describe('on a cluster of three NATS servers', () => {
  const row = ROWS.find(({ cluster }) => cluster)!;

  test(row.title, { timeout: PATIENCE_MS }, async () => {
    const cluster = await Rig.open({ hosts: PLAN.hosts, cluster: true });
    try {
      expectNothingWrong(cluster, row, await runRow(cluster, row, PLAN));
    } finally {
      await cluster.close();
    }
  });
});

test('hostile messages: refused and counted, and flows of others are stored', {
  timeout: PATIENCE_MS,
}, async () => {
  const outcome = await runHostile(HOSTILE);
  expect(hostileBreaches(outcome), JSON.stringify(outcome, undefined, 1)).toEqual([]);
  expect(outcome.refusedByCorrelator).toBeGreaterThan(0);
  expect(outcome.refusedBySink).toBeGreaterThan(0);
});
