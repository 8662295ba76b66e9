import { expect, test } from 'vitest';
import { deadLetter } from '../../../schemas/dead-letter.ts';

const MESSAGE = { subject: 'flowtag.ev.x', schema: 'kprobe.v1', seq: 7, data: Buffer.from('bytes') };

test('a dead letter is the original, with where it came from and why', () => {
  expect(deadLetter('correlator', MESSAGE, 'malformed', 'no MessagePack', 'id')).toEqual({
    subject: 'flowtag.dead.correlator.malformed',
    schema: 'kprobe.v1',
    data: Buffer.from('bytes'),
    messageId: 'id',
    rows: 0,
    headers: {
      'Flowtag-Dead-Subject': 'flowtag.ev.x',
      'Flowtag-Dead-Schema': 'kprobe.v1',
      'Flowtag-Dead-Seq': '7',
      'Flowtag-Dead-Detail': 'no MessagePack',
    },
  });
});

test('a large one is cut and says how large it was', () => {
  const letter = deadLetter('sink', { ...MESSAGE, data: Buffer.alloc(1_000_000) }, 'malformed', '', 'id');
  expect(letter.data.length).toBe(768 * 1024);
  expect(letter.headers['Flowtag-Dead-Bytes']).toBe('1000000');
});

test('what it quotes can neither end a header line nor grow without bound', () => {
  const { headers } = deadLetter(
    'sink',
    { ...MESSAGE, schema: 'a\r\nb: é' },
    'malformed',
    'x'.repeat(999),
    'id',
  );
  expect(headers['Flowtag-Dead-Schema']).toBe('a??b: ?');
  expect(headers['Flowtag-Dead-Detail']).toHaveLength(300);
});
