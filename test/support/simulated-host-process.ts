// A simulated host as a process of its own, to be killed: `node --import tsx simulated-host-process.ts '<JSON>'`.
// Prints `{"ready":true}` on stdout once it publishes; ends by itself after `seconds`, or in order on SIGTERM, and then
// prints `{"flows":…,"flushed":…}`.

import { connectBus } from '../../services/runtime/bus.ts';
import { aborted, runService } from '../../services/runtime/lifecycle.ts';
import { createLogger } from '../../services/runtime/log.ts';
import { SimulatedHost } from './simulated-host.ts';

/** The argument. */
export interface SimulatedHostArguments {
  readonly server: string;
  readonly host: string;
  readonly boot?: string;
  readonly flowsPerSecond: number;
  readonly seconds: number;
  readonly dataDir: string;
  readonly spoolBytes?: number;
  readonly segmentBytes?: number;
}

const FLUSH_MS = 5_000;
const { server, seconds, ...options }: SimulatedHostArguments = JSON.parse(process.argv[2]!);
const log = createLogger('simulated-host', 'info');

process.exit(
  await runService('simulated-host', log, async (signal) => {
    const bus = await connectBus({ server, name: `flowtag simulated ${options.host}`, signal, log });
    const host = await SimulatedHost.start(bus, { ...options, log });
    process.stdout.write('{"ready":true}\n');
    await aborted(AbortSignal.any([signal, AbortSignal.timeout(seconds * 1_000)]));
    const flushed = await host.stop(FLUSH_MS);
    process.stdout.write(`${JSON.stringify({ flows: host.appended, flushed })}\n`);
    await bus.close();
  }),
);
