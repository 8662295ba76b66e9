// `flowtag provision`: makes the streams and buckets that the services need, for a bus on which they may not.
import { BUCKETS } from '../../schemas/permissions.ts';
import { connectBus } from '../runtime/bus.ts';
import { provisionStreams } from '../runtime/bus-streams.ts';
import { startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import { type CorrelatorOptions, correlatorOptions, streamLimits } from './config.ts';

export function main(argv: readonly string[]): Promise<number> {
  return startService('correlator', correlatorOptions, argv, run); // its options say how large the streams are
}

async function run(config: CorrelatorOptions, log: Logger, signal: AbortSignal): Promise<void> {
  const { server, creds, tlsCa } = config;
  const bus = await connectBus({ server, creds, tlsCa, name: 'flowtag provision', signal, log });
  try {
    await provisionStreams(bus, streamLimits(config));
    log.info({ buckets: BUCKETS }, 'streams and buckets are there');
  } finally {
    await bus.close();
  }
}
