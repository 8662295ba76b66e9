import { isIP } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatAddress, parseAddress } from '../../../services/sink/ip-address.ts';

const canonical = (text: string): string | undefined => {
  const bytes = parseAddress(text);
  return bytes && formatAddress(Buffer.from(bytes).toString('hex'));
};

// RFC 5952, section 4 and 5.
test.each([
  ['2001:0db8::0001', '2001:db8::1'],
  ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:DB8::A', '2001:db8::a'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['1:0:0:0:0:0:0:0', '1::'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:C000:0201', '192.0.2.1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['192.0.2.1', '192.0.2.1'],
  ['0.0.0.0', '0.0.0.0'],
])('%s is %s', (text, expected) => {
  expect(canonical(text)).toBe(expected);
});

test.each([
  '',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7::8:9',
  '12345::',
  'g::',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '01.2.3.4',
  '1.2.3.4:80',
  '::1.2.3',
  '1.2.3.4::',
  'fe80::1%eth0',
  '[::1]',
  ' 1.2.3.4',
  'localhost',
  '1.2.3.-4',
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined();
});

test('every address is read, whatever its spelling, and its canonical text reads the same', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      expect(parseAddress(canonical(text)!)).toEqual(parseAddress(text));
      if (text.includes(':') && !canonical(text)!.includes('.'))
        expect(canonical(text)).toBe(new URL(`http://[${text}]`).hostname.slice(1, -1));
    }),
  );
});

test('agrees with the system about what is an address', () => {
  const character = fc.constantFrom(...'0123456789abcdf:.');
  fc.assert(
    fc.property(fc.string({ unit: character, maxLength: 20 }), (text) => {
      expect(parseAddress(text) !== undefined).toBe(isIP(text) !== 0);
    }),
    { numRuns: 5_000 },
  );
});
