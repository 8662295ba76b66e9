// Options of the correlator.
import { z } from 'zod';
import type { StreamLimits } from '../runtime/bus-streams.ts';
import { sharedOptions } from '../runtime/config.ts';

const MIB = 1 << 20;

export const correlatorOptions = z.object({
  ...sharedOptions,
  windowMs: z
    .number()
    .int()
    .min(1_000)
    .max(3_600_000)
    .default(60_000)
    .describe('how long an ended request can still be found as the cause of a connection'),
  lateMs: z
    .number()
    .int()
    .min(0)
    .max(3_600_000)
    .default(10_000)
    .describe(
      "how long after a request's end what its goroutines begin is still taken for its doing; then it says request_ended",
    ),
  maxRequests: z
    .number()
    .int()
    .min(1_000)
    .max(10_000_000)
    .default(1_000_000)
    .describe('requests remembered at once, about 0.9 kB each; beyond that the oldest fall off'),
  eventMib: megabytes(256).describe(
    'size of the stream of events in MiB; beyond it the oldest are discarded',
  ),
  eventAgeMs: age(86_400_000).describe('age at which events are discarded, joined or not'),
  flowMib: megabytes(256).describe('size of the stream of flows in MiB; beyond it the oldest are discarded'),
  flowAgeMs: age(86_400_000).describe('age at which flows leave the stream, stored or not'),
  replicas: z
    .number()
    .refine((count) => [1, 3, 5].includes(count), 'is none of 1, 3, 5')
    .default(1)
    .describe('servers of a NATS cluster that keep each stream and bucket: 1, 3 or 5'),
});
export type CorrelatorOptions = z.infer<typeof correlatorOptions>;

/** Of `flowtag provision`: sites have a server of their own (infra/nats/leaf-node). */
export const provisionOptions = correlatorOptions.extend({
  asSite: z
    .boolean()
    .default(false)
    .describe("make the stream of events alone: on a site's own server, whose events the hub copies"),
  site: z
    .array(z.string().regex(/^[\w-]+$/, 'is not the name of a JetStream domain: letters, digits, - and _'))
    .default([])
    .describe('at the hub: copy the events of the site with this JetStream domain; repeatable')
    .meta({ example: 'site-a' }),
});
export type ProvisionOptions = z.infer<typeof provisionOptions>;

function megabytes(preset: number) {
  return z.number().int().min(1).max(10_485_760).default(preset);
}

function age(presetMs: number) {
  return z.number().int().min(60_000).max(31_536_000_000).default(presetMs);
}

/** The streams as they are created when the bus does not have them yet. */
export function streamLimits(config: CorrelatorOptions): StreamLimits {
  const { eventMib, eventAgeMs, flowMib, flowAgeMs, replicas } = config;
  return { eventBytes: eventMib * MIB, eventAgeMs, flowBytes: flowMib * MIB, flowAgeMs, replicas };
}
