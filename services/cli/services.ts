// The verbs that run one service: listed in the help, started by bin/flowtag.js when they come first.
import type { Command } from 'commander';
import { UsageError } from './usage-error.ts';

const SERVICES = {
  capture: 'probe this host and publish what happens (needs root)',
  correlator: 'join requests and socket events to flows',
  provision: 'make the streams and buckets that the services need (credential of an admin)',
  sink: 'store flows and answer look-ups',
  store: 'the embedded store alone (the sink starts it by itself)',
} as const;

export function addServices(program: Command): void {
  for (const [name, summary] of Object.entries(SERVICES)) {
    program
      .command(name)
      .summary(summary)
      .helpOption(false)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(() => {
        throw new UsageError(
          `"${name}" runs a service and must be the first word: flowtag ${name} [options]`,
        );
      });
  }
}
