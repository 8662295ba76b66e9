// The report's words and figures.
import { expect, test } from 'vitest';
import type { Judgement } from '../support/accuracy.ts';
import { deviationOf, percent, report } from './report.ts';
import type { CaseResult } from './results.ts';

const MACHINE = { date: '2026-01-02', command: 'npm run accuracy', kernel: '6.1', processors: 2, node: '20' };

test('100 is said of all and of nothing less', () => {
  expect(percent(1)).toBe('100');
  expect(percent(0.99999)).toBe('99.99');
  expect(percent(0)).toBe('0');
  expect(percent(undefined)).toBe('–');
});

test('a case stands beside the two rules, added up over the builds', () => {
  const cases = [caseOf('pool', all(10), rule(10, 1))];
  const text = report(
    [
      { program: 'Go 1.24.4', build: 'plain', cases },
      { program: 'Go 1.24.4', build: 'pie', cases },
    ],
    MACHINE,
  );
  expect(text).toContain('Builds: plain, pie.');
  expect(text).toContain('| pool | 20 | 100 / 100 | 10 / 10 | 10 / 10 | 20 | 100 / 100 |');
  expect(text).toContain('Nothing.');
});

test('what is not as it should be is said; what is out of reach may be missed, never wrong', () => {
  const missed = { ...all(10), use: { of: 10, found: 9, right: 9, wrong: 1 }, wrong: 1 };
  expect(deviationOf(caseOf('pool', missed, all(10)))).toEqual(['1 wrong, 1 uses missed']);
  const workers = { ...caseOf('workers', missed, all(10)), outOfReach: 'channel' };
  expect(deviationOf(workers)).toEqual(['1 wrong']);
  expect(deviationOf({ case: 'pool', requests: 1, clients: 1, failure: 'no answer' })).toEqual(['no answer']);
});

function caseOf(name: string, flowtag: Judgement, other: Judgement): CaseResult {
  const judgements = { flowtag, process: other, thread: other, lost: 0 };
  return { case: name, requests: 10, clients: 4, judgements };
}

function all(of: number): Judgement {
  return rule(of, of);
}

function rule(of: number, right: number): Judgement {
  const level = { of, found: right, right, wrong: of - right };
  const tally = { of, right };
  return {
    use: level,
    dial: level,
    wrong: of - right,
    repeated: 0,
    unjudged: 0,
    unnamed: {},
    details: { caller: tally, handler: tally, trace: tally },
    problems: [],
  };
}
