import { expect, test } from 'vitest';
import {
  encodeRows,
  FLOW_FIELDS,
  FLOW_SCHEMA,
  REQUEST_FIELDS,
  REQUEST_SCHEMA,
} from '../../../schemas/rows.ts';
import { readMessage } from '../../../services/sink/message.ts';
import { FLOWS, REQUESTS } from '../../../services/sink/schema.ts';
import { BASE_NS, flow, request } from '../../integration/sink/rows.ts';

const message = (schema: string, data: Uint8Array, seq = 5, replay?: string) => ({
  schema,
  data,
  seq,
  header: (name: string) => (name === 'Flowtag-Replay' ? replay : undefined),
});
const flows = (...rows: ReturnType<typeof flow>[]) => encodeRows(FLOW_FIELDS, rows);

test('flows and requests', () => {
  expect(readMessage(message(FLOW_SCHEMA, flows(flow(1))), 0)).toMatchObject({
    table: FLOWS,
    seq: 5,
    rows: [flow(1)],
    suspect: false,
  });
  const data = encodeRows(REQUEST_FIELDS, [request(1)]);
  expect(readMessage(message(REQUEST_SCHEMA, data), 0)).toMatchObject({
    table: REQUESTS,
    rows: [request(1)],
  });
  expect(readMessage(message(FLOW_SCHEMA, flows()), 0)).toMatchObject({ rows: [] });
});

test('replayed ones, and those that were there before us, are suspect', () => {
  const suspect = (seq: number, upto: number, replay?: string) =>
    readMessage(message(FLOW_SCHEMA, flows(flow(1)), seq, replay), upto);
  expect(suspect(5, 4)).toMatchObject({ suspect: false });
  expect(suspect(5, 5)).toMatchObject({ suspect: true });
  expect(suspect(5, 4, '1')).toMatchObject({ suspect: true });
});

test.each([
  ['unknown_schema', '', flows(flow(1))],
  ['unknown_schema', 'flow.v2', flows(flow(1))],
  ['malformed', FLOW_SCHEMA, Buffer.from('x')],
  ['malformed', FLOW_SCHEMA, new Uint8Array()],
  ['unstorable', FLOW_SCHEMA, flows(flow(1, { 'process.pid': -5 }))],
  ['unstorable', FLOW_SCHEMA, flows(flow(1), flow(2, { time: BASE_NS + 8n * 86_400_000_000_000n }))],
  ['unstorable', REQUEST_SCHEMA, flows(flow(1, { 'flowtag.request.id': null }))],
])('%s: %s', (reason, schema, data) => {
  expect(readMessage(message(schema, data), 0)).toMatchObject({
    reason,
    problem: expect.stringMatching(/./),
  });
});
