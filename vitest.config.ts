import { defineConfig } from 'vitest/config';
import { SkipReporter } from './test/support/skip-reporter.ts';

// Layers that need nothing but the sources run side by side, before the others. Those with servers and services of
// their own mostly wait for them: two at a time. The rest share this machine's kernel, processes and two cores, and
// some measure: one file at a time.
const PURE_LAYERS = ['test/unit/**/*.test.ts', 'test/contract/**/*.test.ts'];
const WAITING_LAYERS = [
  ...['capture', 'cli', 'correlator', 'infra', 'nats', 'runtime', 'sink'].map(
    (part) => `integration/${part}`,
  ),
  'security',
].map((layer) => `test/${layer}/**/*.test.ts`);

export default defineConfig({
  test: {
    reporters: ['default', new SkipReporter()],
    projects: [
      {
        test: {
          name: 'pure',
          include: PURE_LAYERS,
          testTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'waiting',
          include: WAITING_LAYERS,
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'host',
          include: ['test/**/*.test.ts'],
          exclude: [...PURE_LAYERS, ...WAITING_LAYERS],
          globalSetup: 'test/support/docker.ts',
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
