// `flowtag provision`: makes the streams and buckets that the services need, for a bus on which they may not.
import { BUCKETS } from '../../schemas/permissions.ts';
import { connectBus } from '../runtime/bus.ts';
import { provisionSite, provisionStreams, sourceSites } from '../runtime/bus-streams.ts';
import { startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import { type ProvisionOptions, provisionOptions, streamLimits } from './config.ts';

export function main(argv: readonly string[]): Promise<number> {
  return startService('correlator', provisionOptions, argv, run); // whose options say how large the streams are
}

async function run(config: ProvisionOptions, log: Logger, signal: AbortSignal): Promise<void> {
  const { server, creds, tlsCa } = config;
  const bus = await connectBus({ server, creds, tlsCa, name: 'flowtag provision', signal, log });
  try {
    const limits = streamLimits(config);
    if (config.asSite) {
      await provisionSite(bus, limits);
      log.info('the stream of the events of a site is there');
      return;
    }
    await provisionStreams(bus, limits);
    await sourceSites(bus, config.site);
    log.info({ buckets: BUCKETS, sites: config.site }, 'streams and buckets are there');
  } finally {
    await bus.close();
  }
}
