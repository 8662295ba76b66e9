// The README's part "Containers", literally.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { docker, ENGINE_START_MS, shell, useDocker } from '../support/docker.ts';
import { type FlowJson, jsonLines } from '../support/up.ts';

const UP_MS = 300_000;

let missing: string | undefined;
beforeAll(async () => {
  missing = await useDocker();
}, ENGINE_START_MS);
afterAll(async () => {
  if (missing === undefined) await docker('compose', 'down', '--volumes', '--timeout', '0');
}, 60_000);

/** The commands of the README's part, without their comments. */
function commands(): string[] {
  const part = /^## Containers$(.*?)^## /ms.exec(readFileSync('README.md', 'utf8'))![1]!;
  const [, block] = /^```sh\n(.*?)^```/ms.exec(part)!;
  return block!
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, ''))
    .filter(Boolean);
}

test('docker compose up, observe and down, as the README says', { timeout: UP_MS }, async (context) => {
  context.skip(missing !== undefined, missing);
  const [up, observe, down, ...more] = commands();
  expect([up, observe, down]).toEqual([
    expect.stringContaining('up'),
    expect.stringContaining('observe'),
    expect.stringContaining('down'),
  ]);
  expect(more).toEqual([]);
  await shell(up!);

  const flows = await expect
    .poll(() => shell(`${observe} -o json`).then(jsonLines, String), { timeout: 120_000, interval: 2_000 })
    .toSatisfy((seen: FlowJson[] | string) => typeof seen !== 'string' && seen.length >= 5)
    .then(() => shell(`${observe} -o json`))
    .then(jsonLines);
  for (const flow of flows) {
    expect(flow).toMatchObject({ 'host.name': 'docker', 'process.executable.path': '/usr/local/bin/demo' });
    expect(flow['url.path']).toMatch(/^\/work\/\d+$/);
    expect(flow['flowtag.attribution.verdict']).toMatch(/^(exact|lineage|pooled)$/);
    expect(flow['container.id']).toBe((await docker('compose', 'ps', '-q', '--no-trunc', 'demo')).trim());
  }

  await expect(shell(observe!.replace('flowtag', '--env FLOWTAG_CREDS= flowtag'))).rejects.toThrow(
    /Authorization Violation/i,
  );

  await shell(down!);
  expect(await docker('ps', '-aq', '--filter', 'label=com.docker.compose.project=flowtag')).toBe('');
});
