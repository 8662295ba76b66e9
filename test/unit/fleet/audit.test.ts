// The auditor of the fault table finds what there is to find: or its zeros mean nothing.
import { expect, test } from 'vitest';
import { audit } from '../../fleet/audit.ts';
import { LOST_EVENT, type Told } from '../../fleet/truth.ts';

const flow = (id: string, change: Partial<Told> = {}): Told => ({
  table: 'flows',
  id,
  facts: `facts of ${id}`,
  joined: `/path of ${id}`,
  ...change,
});
const request = (id: string, joined = '4'): Told => ({ table: 'requests', id, facts: 'its facts', joined });
const truth = (...rows: Told[]) => new Map(rows.map((row) => [`${row.table} ${row.id}`, row]));
const NOTHING = { lostFlows: 0, lostRequests: 0, duplicated: 0, wrong: 0, incomplete: 0 };
const CERTAIN = truth(flow('1'), flow('2'), request('1'));

test.each([
  ['all is there', [flow('1'), flow('2'), request('1')], {}],
  ['a flow is missing', [flow('1'), request('1')], { lostFlows: 1 }],
  ['a request is missing', [flow('1'), flow('2')], { lostRequests: 1 }],
  ['a row is there twice', [flow('1'), flow('2'), flow('2'), request('1')], { duplicated: 1 }],
  ['a fact is another', [flow('1', { facts: 'others' }), flow('2'), request('1')], { wrong: 1 }],
  ['its request is another', [flow('1', { joined: '/path of 2' }), flow('2'), request('1')], { wrong: 1 }],
  ['nobody did that', [flow('1'), flow('2'), request('1'), flow('3')], { wrong: 1 }],
  ['it says lost_event', [flow('1', { joined: LOST_EVENT }), flow('2'), request('1')], { incomplete: 1 }],
  ['it counts fewer flows', [flow('1'), flow('2'), request('1', '3')], { incomplete: 1 }],
  ['it counts more flows', [flow('1'), flow('2'), request('1', '5')], { wrong: 1 }],
])('%s', (_, stored, found) => {
  expect(audit('host', { certain: CERTAIN, doubtful: truth() }, stored)).toMatchObject({
    expected: 3,
    ...NOTHING,
    ...found,
  });
});

test('what a crash cut off may be stored or not, but not wrongly', () => {
  const told = { certain: CERTAIN, doubtful: truth(flow('3')) };
  const all = [...CERTAIN.values()];
  expect(audit('host', told, all)).toMatchObject(NOTHING);
  expect(audit('host', told, [...all, flow('3')])).toMatchObject(NOTHING);
  const ended = { certain: CERTAIN, doubtful: truth(request('3')) };
  expect(audit('host', ended, [...all, request('3', '3')])).toMatchObject(NOTHING);
  expect(audit('host', told, [...all, flow('3', { facts: 'others' })])).toMatchObject({
    ...NOTHING,
    wrong: 1,
  });
});
