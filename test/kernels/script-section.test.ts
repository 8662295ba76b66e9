import { expect, test } from 'vitest';
import type { Run, SideBySideResult } from './result.ts';
import { deviationsOfScript, scriptSection, sectionOf, withSection } from './script-section.ts';

const ALL = { of: 2, found: 2, right: 2, wrong: 0 };
const FLOWS = ['new 127.0.0.1:1 /a', 'reused 127.0.0.1:1 /b'];

function backend(name: string, more: Partial<NonNullable<SideBySideResult['backends']>[number]> = {}) {
  return {
    backend: name,
    seesUses: true,
    flows: FLOWS,
    use: ALL,
    dial: ALL,
    wrong: 0,
    problems: [],
    ...more,
  };
}

function run(...backends: NonNullable<SideBySideResult['backends']>): Run {
  const script = {
    use: { ...ALL, of: 0, found: 0 },
    dial: { ...ALL, found: 1, wrong: 1 },
    wrong: 1,
    problems: [],
  };
  const sideBySide = { seconds: 1, clients: 9, requests: 7, cases: ['fresh'], script, backends };
  return { kernel: '6.1', seconds: 1, result: { release: '6.1.0', sideBySide } as never };
}

test('the section stands once in the page, and what else is there stays', () => {
  const section = scriptSection([run(backend('fentry'))], ['--part', 'script']);
  const page = withSection('# Accuracy\n\ntext\n', section);
  expect(page).toContain('| 6.1.0 | flowtag, fentry | 2 | 100 / 100 | 2 | 100 / 100 | 0 |');
  expect(page).toContain('| 6.1.0 | the script | 2 | 66.66 / 50 | – | not seen | 1 |');
  const again = withSection(page, scriptSection([run(backend('kprobe'))], []));
  expect(again).toContain('# Accuracy\n\ntext\n');
  expect(again).not.toContain('flowtag, fentry');
  expect(sectionOf(again)).toContain('flowtag, kprobe');
  expect(sectionOf('# Accuracy\n')).toBe('');
});

test('backends that agree deviate in nothing; one that sees no uses is held to connects alone', () => {
  const blind = backend('tracepoint', {
    seesUses: false,
    flows: FLOWS.slice(0, 1),
    use: { ...ALL, found: 0 },
  });
  expect(deviationsOfScript(run(blind, backend('fentry'), backend('kprobe')))).toEqual([]);
});

test.each([
  ['lacks a flow', backend('kprobe', { flows: FLOWS.slice(1) }), /kprobe lacks 1 flows of fentry.*new 127/],
  ['is wrong', backend('kprobe', { wrong: 1, problems: ['that one'] }), /kprobe: that one/],
  ['misses a dial', backend('kprobe', { dial: { ...ALL, found: 1 }, problems: ['no'] }), /kprobe: no/],
])('a backend that %s deviates', (_, other, problem) => {
  expect(deviationsOfScript(run(backend('fentry'), other)).join()).toMatch(problem);
});
