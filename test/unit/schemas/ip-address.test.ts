import { isIP, isIPv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAddress, formatIpv4, isMapped, parseAddress } from '../../../schemas/ip-address.ts';

const canonical = (text: string): string => formatAddress(parseAddress(text)!);

// RFC 5952, section 4 and 5.
test.each([
  ['2001:0db8::0001', '2001:db8::1'],
  ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // one zero is not shortened
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], // the longest run
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // the first of two as long
  ['2001:DB8::A', '2001:db8::a'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['1:0:0:0:0:0:0:0', '1::'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
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
  '1.2.3.4.',
  '1..2.3',
  '1.2.3.256',
  '010.0.0.1',
  '00.0.0.1',
  '1.2.3.4:80',
  '::1.2.3',
  '::01.2.3.4',
  '1.2.3.4::',
  '1.2.3.4::1',
  'fe80::1%eth0',
  '[::1]',
  ' 1.2.3.4',
  'localhost',
  '1.2.3.-4',
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined();
});

describe('of any', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc
      .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
      .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))),
    fc
      .uint8Array({ minLength: 4, maxLength: 4 })
      .map((ipv4) => Uint8Array.from([...new Array(10).fill(0), 255, 255, ...ipv4])),
  );

  test('16 bytes, the text is canonical and reads as the same bytes, wherever they lie', () => {
    fc.assert(
      fc.property(bytes, fc.nat(8), (address, at) => {
        const memory = Uint8Array.from([...new Array(at).fill(1), ...address, 1]);
        const text = formatAddress(memory, at);
        expect(parseAddress(text)).toEqual(address);
        expect(isIPv4(text)).toBe(isMapped(memory, at));
        if (isMapped(memory, at)) expect(text).toBe(formatIpv4(memory, at + 12));
        else expect(`[${text}]`).toBe(new URL(`http://[${text}]`).hostname);
      }),
      { numRuns: 1_000 },
    );
  });

  test('spelling, the text agrees with the URL parser and is its own canonical text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (raw) => {
        const text = canonical(raw);
        expect(canonical(text)).toBe(text);
        if (text.includes(':')) expect(`[${text}]`).toBe(new URL(`http://[${raw}]`).hostname);
        else if (!raw.includes(':')) expect(text).toBe(raw);
      }),
    );
  });

  test('text, it agrees with node:net about what is an address', () => {
    const character = fc.constantFrom(...'0123456789abcdf:.');
    const nearly = fc.tuple(
      fc.oneof(fc.ipV4(), fc.ipV6()),
      fc.nat(40),
      fc.string({ unit: character, maxLength: 2 }),
    );
    const text = fc.oneof(
      fc.string({ unit: character, maxLength: 20 }),
      nearly.map(([address, at, more]) => address.slice(0, at) + more + address.slice(at + 1)),
    );
    fc.assert(
      fc.property(text, (some) => {
        expect([some, parseAddress(some) !== undefined]).toEqual([some, isIP(some) !== 0]);
      }),
      { numRuns: 5_000 },
    );
  });
});
