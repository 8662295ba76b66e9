import { expect, test } from 'vitest';
import { missedTargets, performancePage } from './report.ts';
import { type Results, SETUPS, WORKLOADS } from './results.ts';

const ADDED_US = { control: 0, seed: 40, flowtag: 16 };

/** Every pair adds the same: nothing, what the seed adds, what flowtag adds. */
function results(addedUs: Readonly<Record<(typeof SETUPS)[number], number>>): Results {
  const each = SETUPS.flatMap((setup) => WORKLOADS.map((workload) => ({ setup, workload })));
  return {
    command: 'npm run bench -- overhead',
    machine: { kernel: '6.18' },
    pairs: 2,
    requests: 1_500,
    ratePerSecond: 300,
    saturationMs: 1_500,
    samples: [...each, ...each].map(({ setup, workload }) => ({
      setup,
      workload,
      probedUs: 100 + addedUs[setup],
      unprobedUs: 100,
      ownUs: setup === 'flowtag' ? { capture: 30 } : {},
      stretch: 1,
    })),
    saturations: each.map((one) => ({ ...one, probedPerSecond: 900, unprobedPerSecond: 1_000 })),
    seen: [{ setup: 'flowtag', counts: { events: 500, 'events lost': 3 } }],
    hits: {
      noop: { request_start: 1, dial: 0 },
      pool: { request_start: 1, dial: 0 },
      fresh: { request_start: 1, dial: 0.9975 },
    },
  };
}

test('the page gives what was added, the ratio of the twins, and flowtag beside the seed', () => {
  const page = performancePage(results(ADDED_US));
  expect(page).toContain('| seed (bpftrace, two probes) | +40.0 [+40.0 … +40.0]<br>1.40 × |');
  expect(page).toContain('| no outbound call | 0.40 [0.40 … 0.40] | ≤ 0.5 | yes |');
  expect(page).toContain('| capture | 30 [30 … 30] |');
  expect(page).toContain('1000 → 900<br>0.90 [0.90 … 0.90] ×');
  expect(page).toContain('lost 3 of 500 events');
  expect(page).toContain('| all | 1.00 | 1.00 | 2.00 |');
  expect(page).not.toMatch(/NaN|undefined/);
});

test('a target is missed when flowtag adds more than half of the seed without a call, or more than it with one', () => {
  expect(missedTargets(results(ADDED_US))).toEqual([]);
  expect(missedTargets(results({ ...ADDED_US, flowtag: 24 }))).toEqual([
    "no outbound call: flowtag adds 24.0 µs, and may add 0.5 of the seed's 40.0 µs",
  ]);
  expect(missedTargets(results({ ...ADDED_US, flowtag: 44 }))).toHaveLength(3);
  expect(missedTargets(results({ ...ADDED_US, seed: -5, flowtag: -9 }))).toHaveLength(3);
});

test('runs that fell behind their schedule are said', () => {
  const run = results(ADDED_US);
  const late = { ...run, samples: run.samples.map((sample) => ({ ...sample, stretch: 1.2 })) };
  expect(performancePage(run)).not.toContain('did not keep their rate');
  expect(performancePage(late)).toContain('18 of 18 runs did not keep their rate');
});
