import { pino } from 'pino';
import { expect, test } from 'vitest';
import { API_SCHEMA, apiReply } from '../../../schemas/api.ts';
import { pack, unpack } from '../../../schemas/codec.ts';
import type { ApiVerb } from '../../../schemas/subjects.ts';
import { type AnswerOptions, answer } from '../../../services/sink/answer.ts';
import { Counters } from '../../../services/sink/counters.ts';
import { FLOWS, LEDGER } from '../../../services/sink/schema.ts';
import { type Store, StoreError } from '../../../services/sink/store-client.ts';

function options(query: Store['query']): AnswerOptions {
  return {
    store: () => ({ query }) as Store,
    counters: new Counters(),
    log: pino({ level: 'silent' }),
    retentionDays: 7,
    nowNs: () => 1_000n,
  };
}

async function ask(
  data: Uint8Array,
  use = options(async () => []),
  schema = API_SCHEMA,
  verb: ApiVerb = 'flows',
) {
  const reply = await answer(verb, { schema, data }, use);
  expect(reply.schema).toBe(API_SCHEMA);
  return apiReply.parse(unpack(reply.data));
}

test('no rows are an answer', async () => {
  const { rows, error } = await ask(pack({ v: 1, last: 5 }));
  expect([rows?.length, error]).toEqual([expect.any(Number), undefined]);
});

test.each([
  ['not a message', Buffer.from('not a message'), API_SCHEMA, /not MessagePack/],
  ['another schema', pack({ v: 1, last: 5 }), 'api.v2', /api\.v2/],
  ['unknown fields', pack({ v: 1, last: 5, drop: 'table' }), API_SCHEMA, /drop/],
  ['a number that is none', pack({ v: 1, last: 'many' }), API_SCHEMA, /last/],
])('%s is answered in words', async (_, data, schema, problem) => {
  expect((await ask(data, undefined, schema)).error).toMatch(problem);
});

test('rows that are more than an answer can carry are not in it, but how many would be', async () => {
  const row = FLOWS.columns.map(({ name }) => (name === 'code_stacktrace' ? 'x'.repeat(8_000) : '0'));
  const { rows, error, fit } = await ask(
    pack({ v: 1, last: 500 }),
    options(async () => Array(500).fill(row)),
  );
  expect(rows).toBeUndefined();
  expect(error).toMatch(/500 flows are more than one answer can carry/);
  expect(fit).toBeGreaterThan(100);
  expect(fit).toBeLessThan(130);
});

test('books that are more than an answer can carry are not in it: it says how to ask for fewer', async () => {
  const row = LEDGER.columns.map(({ field }) =>
    field === 'flowtag.ledger.counts' ? 'x'.repeat(12_000) : '0',
  );
  const use = options(async () => Array(100).fill(row));
  const { rows, error } = await ask(pack({ v: 1 }), use, API_SCHEMA, 'ledger');
  expect([rows, error]).toEqual([undefined, expect.stringMatching(/more than one answer.*one host/)]);
});

test('trouble with the store is in the answer, and counted', async () => {
  const use = options(() => Promise.reject(new StoreError('STORE_AWAY', 'The store is being started.')));
  expect((await ask(pack({ v: 1, last: 5 }), use)).error).toBe('The store is being started.');
  expect(use.counters.read()).toEqual({ lookups: 1, lookup_errors: 1 });
});
