// Small values written by compare-and-set in a KV bucket: how far a reader got, and that nobody else goes on from
// there. A bucket is a stream `KV_<bucket>`; reads go to its leader (direct reads may be stale).
import { z } from 'zod';
import {
  callJetStream,
  createStream,
  findStream,
  JetStreamError,
  JS_ERROR,
  publishReply,
} from './bus-jetstream.ts';
import { BusError } from './errors.ts';

export interface Position {
  readonly value: Uint8Array;
  readonly revision: number;
}

export type Stored = Position & { readonly deleted: boolean };

export interface Positions {
  get(key: string): Promise<Position | undefined>;
  /** The new revision. `revision` 0: must not exist. Throws BusError FENCED when someone else wrote. */
  set(key: string, value: Uint8Array, revision: number): Promise<number>;
}

/** As Request, with headers. */
export type HeaderRequest = (
  subject: string,
  data: Uint8Array,
  headers?: Readonly<Record<string, string>>,
) => Promise<Uint8Array>;

const stored = z.object({
  message: z.object({ seq: z.number(), data: z.base64().default(''), hdrs: z.base64().default('') }),
});

/** The stream behind a bucket. */
export function bucketConfig(bucket: string, replicas: number) {
  return {
    name: `KV_${bucket}`,
    subjects: [`$KV.${bucket}.>`],
    max_msgs_per_subject: 1,
    storage: 'file',
    num_replicas: replicas,
    discard: 'new',
    allow_rollup_hdrs: false, // it would not go with deny_purge
    deny_delete: true,
    deny_purge: true,
  };
}

/** Creates the bucket when it is missing; one that exists is taken as it is. */
export async function openPositions(request: HeaderRequest, bucket: string): Promise<Positions> {
  const config = bucketConfig(bucket, 1);
  if (!(await findStream(request, config.name))) await createStream(request, config);
  return new KeyValuePositions(request, bucket);
}

class KeyValuePositions implements Positions {
  private readonly request: HeaderRequest;
  private readonly bucket: string;
  /** Values whose write was never answered: one of them found in the bucket is ours, not someone else's. */
  private readonly unanswered = new Map<string, Uint8Array[]>();

  constructor(request: HeaderRequest, bucket: string) {
    this.request = request;
    this.bucket = bucket;
  }

  async get(key: string): Promise<Position | undefined> {
    const current = await this.read(key);
    return current?.deleted === false ? { value: current.value, revision: current.revision } : undefined;
  }

  async set(key: string, value: Uint8Array, revision: number): Promise<number> {
    try {
      return await this.write(key, value, revision);
    } catch (error) {
      if (!isWrongRevision(error)) throw error;
    }
    const current = await this.read(key);
    const ours = this.unanswered
      .get(key)
      ?.some((value) => current && Buffer.compare(value, current.value) === 0);
    try {
      if (current && (ours || (current.deleted && revision === 0)))
        return await this.write(key, value, current.revision);
    } catch (error) {
      if (!isWrongRevision(error)) throw error;
    }
    const found = current?.revision ?? 0;
    throw new BusError(
      'FENCED',
      `position ${this.bucket}/${key} was written by someone else (revision ${found}, expected ${revision}): ` +
        'another instance has taken over, go on from what it wrote',
    );
  }

  private async write(key: string, value: Uint8Array, revision: number): Promise<number> {
    const subject = `$KV.${this.bucket}.${key}`;
    const headers = { 'Nats-Expected-Last-Subject-Sequence': String(revision) };
    try {
      const { seq } = await callJetStream(
        (to, data) => this.request(to, data, headers),
        subject,
        value,
        publishReply,
      );
      this.unanswered.delete(key);
      return seq;
    } catch (error) {
      if (error instanceof BusError && error.code === 'TIMEOUT') this.remember(key, value);
      throw error;
    }
  }

  private remember(key: string, value: Uint8Array): void {
    const list = this.unanswered.get(key) ?? [];
    this.unanswered.set(key, [...list.slice(-7), value]);
  }

  private read(key: string): Promise<Stored | undefined> {
    return readLast(this.request, this.bucket, key);
  }
}

/** What the leader has under a key, a deletion too. */
export async function readLast(
  request: HeaderRequest,
  bucket: string,
  key: string,
): Promise<Stored | undefined> {
  const body = { last_by_subj: `$KV.${bucket}.${key}` };
  try {
    const { message } = await callJetStream(request, `$JS.API.STREAM.MSG.GET.KV_${bucket}`, body, stored);
    const deleted = /^KV-Operation:\s*(DEL|PURGE)/m.test(Buffer.from(message.hdrs, 'base64').toString());
    return { value: Buffer.from(message.data, 'base64'), revision: message.seq, deleted };
  } catch (error) {
    if (error instanceof JetStreamError && error.number === JS_ERROR.messageNotFound) return undefined;
    throw error;
  }
}

function isWrongRevision(error: unknown): boolean {
  return error instanceof JetStreamError && error.number === JS_ERROR.wrongLastSequence;
}
