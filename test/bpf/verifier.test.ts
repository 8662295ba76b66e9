// What each program costs the verifier: a change that makes it much dearer may not load on another kernel, whose limit
// is one million instructions and whose verifier prunes less.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Capture } from '../support/capture.ts';
import { bpfPrograms } from '../support/kernel-bpf.ts';

const BUDGET = JSON.parse(readFileSync('bpf/verifier-budget.json', 'utf8')) as Record<string, number>;

test('every program is verified within its budget', async () => {
  const before = new Set(bpfPrograms().map(({ id }) => id));
  const capture = await Capture.open();
  const loaded = bpfPrograms().filter(({ id }) => !before.has(id));
  await capture.close();
  expect(loaded.map(({ name }) => name)).toContain('on_uprobe');
  for (const { name, verifiedInstructions } of loaded) {
    expect(verifiedInstructions, name).toBeGreaterThan(0);
    expect(verifiedInstructions, name).toBeLessThanOrEqual(BUDGET[name] ?? 0);
  }
  const left = () => bpfPrograms().filter(({ id }) => loaded.some((program) => program.id === id));
  await expect.poll(left).toEqual([]); // the kernel frees them a moment later
});
