// The streams and buckets of the bus. Servers up to 2.10 drop fields they do not know without an error, so what the server says
// it made is compared with what was asked.
import { z } from 'zod';
import {
  CHECKPOINT_BUCKET,
  DEAD_LETTER_STREAM,
  DEAD_LETTER_SUBJECTS,
  EVENT_STREAM,
  EVENT_SUBJECTS,
  FLOW_STREAM,
  FLOW_SUBJECTS,
  LEASE_BUCKET,
  SINK_BUCKET,
} from '../../schemas/subjects.ts';
import type { Bus } from './bus.ts';
import {
  createStream,
  findStream,
  JetStreamError,
  JS_ERROR,
  type Request,
  readStream,
  type StreamConfig,
  type StreamInfo,
  updateStream,
} from './bus-jetstream.ts';
import { LEASE_TTL_MS } from './bus-leases.ts';
import { bucketConfig } from './bus-positions.ts';
import { BusError } from './errors.ts';

export interface StreamLimits {
  readonly eventBytes: number;
  readonly eventAgeMs: number;
  readonly flowBytes: number;
  readonly flowAgeMs: number;
  /** Servers of a cluster that keep each stream and bucket. */
  readonly replicas: number;
}

const DUPLICATE_WINDOW_MS = 120_000;
const DEAD_LETTER_BYTES = 16 << 20;
const DEAD_LETTER_AGE_MS = 7 * 24 * 3_600_000;
const TIMEOUT_MS = 4_000;

/**
 * Creates what is missing; idempotent. The buckets first: who finds the streams has them, too. Nobody can purge any of
 * them, or delete a message but a lease. Throws BusError STREAM_MISMATCH when something is not what was asked for.
 */
export async function provisionStreams(bus: Bus, limits: StreamLimits): Promise<void> {
  const request = requestOf(bus);
  const { flowBytes, flowAgeMs, replicas } = limits;
  const ttl = nanoseconds(LEASE_TTL_MS);
  const lease = { ...bucketConfig(LEASE_BUCKET, replicas), max_age: ttl, duplicate_window: ttl };
  await provision(request, { ...lease, deny_delete: false });
  await provision(request, bucketConfig(CHECKPOINT_BUCKET, replicas));
  await provision(request, bucketConfig(SINK_BUCKET, replicas));
  await provisionEvents(request, limits);
  const stream = (name: string, subjects: readonly string[], bytes: number, ageMs: number) =>
    provision(request, streamConfig(name, subjects, bytes, ageMs, replicas));
  await stream(FLOW_STREAM, FLOW_SUBJECTS, flowBytes, flowAgeMs);
  await stream(DEAD_LETTER_STREAM, [DEAD_LETTER_SUBJECTS], DEAD_LETTER_BYTES, DEAD_LETTER_AGE_MS);
}

/** The streams of a site's own server: its daemons' events, which the hub sources. Otherwise as provisionStreams. */
export async function provisionSite(
  bus: Bus,
  limits: Pick<StreamLimits, 'eventBytes' | 'eventAgeMs'>,
): Promise<void> {
  await provisionEvents(requestOf(bus), { ...limits, replicas: 1 });
}

/**
 * The hub's event stream sources those of the sites with these JetStream domains, besides those that it sources
 * already: sites may join at any time.
 */
export async function sourceSites(bus: Bus, domains: readonly string[]): Promise<void> {
  const request = requestOf(bus);
  const { config } = await readStream(request, EVENT_STREAM);
  const present = sources.parse(config.sources ?? []);
  const missing = domains
    .map((domain) => ({ name: EVENT_STREAM, external: { api: `$JS.${domain}.API`, deliver: '' } }))
    .filter(({ external }) => !present.some((source) => source.external?.api === external.api));
  if (missing.length === 0) return;
  await updateStream(request, { ...config, name: EVENT_STREAM, sources: [...present, ...missing] });
}

const sources = z.array(z.looseObject({ external: z.looseObject({ api: z.string() }).optional() }));

function requestOf(bus: Bus): Request {
  return async (subject, data) => (await bus.request(subject, '', data, TIMEOUT_MS)).data;
}

async function provisionEvents(
  request: Request,
  { eventBytes, eventAgeMs, replicas }: Pick<StreamLimits, 'eventBytes' | 'eventAgeMs' | 'replicas'>,
): Promise<void> {
  await provision(request, streamConfig(EVENT_STREAM, [EVENT_SUBJECTS], eventBytes, eventAgeMs, replicas));
}

function streamConfig(
  name: string,
  subjects: readonly string[],
  bytes: number,
  ageMs: number,
  replicas: number,
): StreamConfig {
  return {
    name,
    subjects,
    retention: 'limits',
    storage: 'file',
    num_replicas: replicas,
    discard: 'old',
    max_bytes: bytes,
    max_age: nanoseconds(ageMs),
    duplicate_window: nanoseconds(Math.min(DUPLICATE_WINDOW_MS, ageMs)), // never above max_age: the server refuses
    deny_delete: true,
    deny_purge: true,
  };
}

/**
 * By these a stream refuses more than before. A server sets them at any time and never takes them back, so a stream
 * of an older version that lacks nothing else is given them; one that has more of them than asked for is a mismatch.
 */
const TIGHT: Readonly<Record<string, boolean>> = {
  deny_delete: true,
  deny_purge: true,
  allow_rollup_hdrs: false,
};

async function provision(request: Request, asked: StreamConfig): Promise<void> {
  const { name } = asked;
  let { config } = (await findStream(request, name)) ?? (await create(request, asked));
  const loose = differingKeys(config, asked);
  if (loose.length > 0 && loose.every((key) => asked[key] === TIGHT[key])) {
    const tight = Object.fromEntries(loose.map((key) => [key, asked[key]]));
    ({ config } = await updateStream(request, { ...config, ...tight, name }));
  }
  const differences = differingKeys(config, asked).map(
    (key) => `${key} is ${JSON.stringify(config[key])}, asked for ${JSON.stringify(asked[key])}`,
  );
  if (differences.length === 0) return;
  const replicas = config.num_replicas === asked.num_replicas ? '' : ` --replicas ${asked.num_replicas}`;
  throw new BusError(
    'STREAM_MISMATCH',
    `stream ${name} is not as configured: ${differences.join('; ')}. Change the configuration to match, or the ` +
      `stream with \`nats stream edit ${name}${replicas}\`, which keeps what is in it`,
  );
}

function differingKeys(config: StreamInfo['config'], asked: StreamConfig): string[] {
  return Object.keys(asked).filter((key) => JSON.stringify(config[key]) !== JSON.stringify(asked[key]));
}

async function create(request: Request, asked: StreamConfig): Promise<StreamInfo> {
  try {
    return await createStream(request, asked);
  } catch (error) {
    if (!(error instanceof JetStreamError) || error.number !== JS_ERROR.noStorage) throw error;
    throw new BusError(
      'NO_STORAGE',
      `there is no room for stream ${asked.name} (${Number(asked.max_bytes) >> 20} MiB, which the server reserves): free some, ` +
        'or give it less: FLOWTAG_CORRELATOR_EVENT_MIB, FLOWTAG_CORRELATOR_FLOW_MIB',
      { cause: error },
    );
  }
}

function nanoseconds(ms: number): number {
  return ms * 1_000_000;
}
