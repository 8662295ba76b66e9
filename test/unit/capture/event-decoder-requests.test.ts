import { describe, expect, it } from 'vitest';
import { REQUEST_END, REQUEST_START } from '../../../schemas/events.ts';
import { decode } from './decoded.ts';
import { requestEnd, requestStart } from './records.ts';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';

describe('a request start', () => {
  it('has all that the kernel read', () => {
    const id = Number.MAX_SAFE_INTEGER;
    const { uprobe, seen } = decode([
      requestStart({
        id,
        pid: 4321,
        binary: 200,
        timeNs: 5n,
        flags: 3,
        method: 'DELETE',
        path: '/größe',
        query: 'a=1',
        host: 'example.org',
        peer: '[2001:db8::7]:40522',
        traceparent: `00-${TRACE_ID}-${SPAN_ID}-01`,
      }),
    ]);
    expect(seen).toEqual([['uprobe', 4321, 200]]);
    expect([uprobe.type[0], uprobe.requestId.number(0), uprobe.timeNs.bigint(0)]).toEqual([
      REQUEST_START,
      id,
      5n,
    ]);
    expect([uprobe.process[0], uprobe.tid[0], uprobe.goid.number(0), uprobe.flags[0]]).toEqual([
      0, 4330, 37, 3,
    ]);
    const texts = [uprobe.method, uprobe.path, uprobe.query, uprobe.serverAddress, uprobe.clientAddress];
    expect(texts.map((text) => text.get(0))).toEqual([
      'DELETE',
      '/größe…', // marked as cut
      'a=1',
      'example.org',
      '2001:db8::7',
    ]);
    expect([uprobe.clientPort[0], uprobe.traceId.get(0), uprobe.spanId.get(0)]).toEqual([
      40_522,
      TRACE_ID,
      SPAN_ID,
    ]);
  });

  it('may have fields as long as the kernel lets them be, and none at all', () => {
    const path = `/${'p'.repeat(255)}`;
    const query = 'q'.repeat(256);
    const { uprobe } = decode([
      requestStart({ id: 1, path, query, method: 'M'.repeat(16) }),
      requestStart({ id: 2 }),
    ]);
    expect([uprobe.path.get(0), uprobe.query.get(0), uprobe.method.get(0)]).toEqual([
      path,
      query,
      'M'.repeat(16),
    ]);
    expect([uprobe.path.get(1), uprobe.query.get(1), uprobe.clientAddress.get(1)]).toEqual(['', '', '']);
  });

  it('shows a path that is not UTF-8 as far as it is', () => {
    const path = Buffer.from('/a\xff/\xc3', 'latin1'); // the last character was cut in two
    const { uprobe } = decode([requestStart({ id: 1, path }), requestStart({ id: 2, path: '/b' })]);
    expect([uprobe.path.get(0), uprobe.path.get(1)]).toEqual(['/a\ufffd/\ufffd', '/b']);
  });

  it.each([
    ['a later version, which may add fields', `cc-${TRACE_ID}-${SPAN_ID}-01-x`, true],
    ['no value', '', false],
    ['garbage', 'not a traceparent', false],
    ['version ff', `ff-${TRACE_ID}-${SPAN_ID}-01`, false],
    ['more than version 00 has', `00-${TRACE_ID}-${SPAN_ID}-01-`, false],
    ['upper case', `00-${TRACE_ID.toUpperCase()}-${SPAN_ID}-01`, false],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN_ID}-01`, false],
    ['a span id of zeros', `00-${TRACE_ID}-${'0'.repeat(16)}-01`, false],
    ['a short span id', `00-${TRACE_ID}-${SPAN_ID.slice(1)}-01`, false],
    ['no flags', `00-${TRACE_ID}-${SPAN_ID}`, false],
    ['a line break after it', `00-${TRACE_ID}-${SPAN_ID}-01\n`, false],
  ])('has a trace context only from a valid traceparent: %s', (_, traceparent, valid) => {
    const { uprobe } = decode([requestStart({ id: 1, traceparent })]);
    expect([uprobe.traceId.get(0), uprobe.spanId.get(0)]).toEqual(valid ? [TRACE_ID, SPAN_ID] : ['', '']);
  });
});

describe('a request end', () => {
  it('has its status and nothing of the start in the row before', () => {
    const peer = '10.0.0.5:1';
    const { uprobe } = decode([
      requestStart({ id: 1, path: '/a', peer, flags: 7 }),
      requestEnd({ id: 1, status: -1 }),
    ]);
    expect([...uprobe.type]).toEqual([REQUEST_START, REQUEST_END]);
    expect([...uprobe.status]).toEqual([0, -1]);
    expect([uprobe.path.get(1), uprobe.clientPort[1], uprobe.flags[1]]).toEqual(['', 0, 0]);
    expect(uprobe.requestId.number(1)).toBe(1);
  });
});
