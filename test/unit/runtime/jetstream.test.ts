import { describe, expect, it } from 'vitest';
import {
  callJetStream,
  JetStreamError,
  publishReply,
  readReply,
} from '../../../services/runtime/bus-jetstream.ts';
import { parseDelivery } from '../../../services/runtime/bus-pull.ts';
import { BusError } from '../../../services/runtime/errors.ts';

const read = (text: string) => readReply('s', Buffer.from(text), publishReply);

describe('readReply', () => {
  it('reads an acknowledgement', () => {
    expect(read('{"stream":"S","seq":7,"duplicate":true}')).toEqual({ stream: 'S', seq: 7 });
  });

  it('throws what the server refused, with its number', () => {
    const refused =
      '{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"},"stream":"S","seq":0}';
    expect(() => read(refused)).toThrow(new JetStreamError('s', 10_071, 'wrong last sequence'));
  });

  it.each([
    '',
    '{',
    'null',
    '7',
    '[]',
    '{}',
    '{"stream":"S"}',
    '{"stream":"S","seq":0}',
    '{"error":"text"}',
    '{"stream":1,"seq":1}',
  ])('takes %j for no acknowledgement', (text) => {
    expect(() => read(text)).toThrow(BusError);
  });
});

describe('callJetStream', () => {
  it('sends JSON, bytes as they are, and nothing for undefined', async () => {
    const sent: string[] = [];
    const request = async (_: string, data: Uint8Array) => {
      sent.push(Buffer.from(data).toString());
      return Buffer.from('{"stream":"S","seq":1}');
    };
    await callJetStream(request, 's', { a: 1 }, publishReply);
    await callJetStream(request, 's', Buffer.from('raw'), publishReply);
    await callJetStream(request, 's', undefined, publishReply);
    expect(sent).toEqual(['{"a":1}', 'raw', '']);
  });
});

describe('parseDelivery', () => {
  it.each([
    ['$JS.ACK.S.C.1.42.7.1700000000000000000.3', { seq: 42, delivered: 7, pending: 3 }],
    ['$JS.ACK.hub.ACCHASH.S.C.1.42.7.1700000000000000000.3', { seq: 42, delivered: 7, pending: 3 }],
    ['$JS.ACK._.ACCHASH.S.C.1.42.7.1700000000000000000.3.token', { seq: 42, delivered: 7, pending: 3 }],
  ])('reads %s', (reply, delivery) => {
    expect(parseDelivery(reply)).toEqual(delivery);
  });

  it.each([
    undefined,
    '',
    '_INBOX.x',
    '$JS.ACK.S.C.1.42.7.17',
    '$JS.ACK.S.C.1.x.7.17.3',
    '$JS.ACK.S.C.1.42.7.17.3.4',
  ])('refuses %j', (reply) => {
    expect(parseDelivery(reply)).toBeUndefined();
  });
});
