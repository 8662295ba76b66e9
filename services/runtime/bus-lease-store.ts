// The lease bucket on the wire: a KV bucket whose values the server forgets. What is given back is deleted as a
// message, by its sequence: that cannot hit what somebody else wrote, and leaves no marker behind.
import { z } from 'zod';
import { LEASE_BUCKET } from '../../schemas/subjects.ts';
import { callJetStream, JetStreamError, JS_ERROR, publishReply } from './bus-jetstream.ts';
import type { LeaseStore } from './bus-lease-holder.ts';
import { type HeaderRequest, readLast } from './bus-positions.ts';

const STREAM = `KV_${LEASE_BUCKET}`;
const PREFIX = `$KV.${LEASE_BUCKET}.`;

const subjectsInfo = z.object({
  state: z.object({ subjects: z.record(z.string(), z.number()).nullish() }),
});

export function leaseStore(request: HeaderRequest): LeaseStore {
  return {
    async keys() {
      const body = { subjects_filter: `${PREFIX}>` };
      const { state } = await callJetStream(request, `$JS.API.STREAM.INFO.${STREAM}`, body, subjectsInfo);
      return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(PREFIX.length));
    },
    async get(key) {
      const found = await readLast(request, LEASE_BUCKET, key);
      return found && { value: Buffer.from(found.value).toString(), revision: found.revision };
    },
    async put(key, value, revision) {
      const headers =
        revision === undefined ? {} : { 'Nats-Expected-Last-Subject-Sequence': String(revision) };
      try {
        const write: HeaderRequest = (subject, data) => request(subject, data, headers);
        return (await callJetStream(write, PREFIX + key, Buffer.from(value), publishReply)).seq;
      } catch (error) {
        if (error instanceof JetStreamError && error.number === JS_ERROR.wrongLastSequence) return undefined;
        throw error;
      }
    },
    async remove(_key, revision) {
      // Without overwriting it on disk first: it is no secret.
      const body = { seq: revision, no_erase: true };
      await callJetStream(request, `$JS.API.STREAM.MSG.DELETE.${STREAM}`, body, z.unknown()).catch(
        (error) => {
          if (!(error instanceof JetStreamError)) throw error; // it has run out already
        },
      );
    },
  };
}
