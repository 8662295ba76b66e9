// Says at the end of a run what was skipped and why: a skipped test never passes for a passed one. The reason
// is the note of `context.skip('…')`; a test skipped without one is listed as such, for someone to add it.
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node';

export class SkipReporter implements Reporter {
  private vitest: Vitest | undefined;

  onInit(vitest: Vitest): void {
    this.vitest = vitest;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    // With -t, everything else is "skipped": the user asked for that.
    if (this.vitest?.config.testNamePattern !== undefined) return;
    this.vitest?.logger.log(
      skipSummary(modules.flatMap((module) => [...module.children.allTests('skipped')])),
    );
  }
}

function skipSummary(skipped: readonly TestCase[]): string {
  if (skipped.length === 0) return ' Skipped: nothing\n';
  const lines = skipped.map(
    (test) => `   ${test.module.relativeModuleId} > ${test.fullName}: ${reasonOf(test)}`,
  );
  return [` Skipped: ${skipped.length}`, ...lines, ''].join('\n');
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' ? result.note : undefined;
  return note ?? (test.options.mode === 'todo' ? 'not written yet' : 'NO REASON GIVEN');
}
