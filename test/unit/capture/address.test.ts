import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ipv6Text, splitHostPort } from '../../../services/capture/address.ts';

function bytesOf(groups: readonly number[]): Uint8Array {
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

describe('IPv6 as text', () => {
  it.each([
    [[0, 0, 0, 0, 0, 0, 0, 0], '::'],
    [[0, 0, 0, 0, 0, 0, 0, 1], '::1'],
    [[1, 0, 0, 0, 0, 0, 0, 0], '1::'],
    [[0x2001, 0xdb8, 0, 1, 1, 1, 1, 1], '2001:db8:0:1:1:1:1:1'], // one zero is not shortened
    [[0x2001, 0, 0, 1, 0, 0, 0, 1], '2001:0:0:1::1'], // the longest run
    [[0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], '2001:db8::1:0:0:1'], // the first of two as long
    [[0xabcd, 0xef, 0, 0, 0, 0, 0, 0], 'abcd:ef::'],
  ])('is as RFC 5952 has it: %s', (groups, text) => {
    expect(ipv6Text(bytesOf(groups), 0)).toBe(text);
  });

  it('agrees with the URL parser for any address', () => {
    const groups = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, fc.nat(8), (parts, at) => {
        const text = ipv6Text(Uint8Array.from([...Array(at).fill(1), ...bytesOf(parts)]), at);
        expect(isIPv6(text)).toBe(true);
        const full = parts.map((group) => group.toString(16)).join(':');
        expect(`[${text}]`).toBe(new URL(`http://[${full}]/`).hostname);
      }),
    );
  });
});

describe('host and port', () => {
  it.each([
    ['10.0.0.5:40522', '10.0.0.5', 40_522],
    ['[::1]:80', '::1', 80],
    ['[fe80::1%eth0]:65535', 'fe80::1%eth0', 65_535],
    ['localhost:0', 'localhost', 0],
    [':80', '', 80],
  ])('are told apart: %s', (text, address, port) => {
    expect(splitHostPort(text)).toEqual({ address, port });
  });

  it.each([
    '',
    '@',
    '10.0.0.5',
    '::1',
    'a:65536',
    'a:-1',
    'a:1e3',
    'a:0x50',
    'a: 5',
    'a:',
    '[::1]',
    '/run/a.sock',
  ])('are not guessed from something else: %s', (text) => {
    expect(splitHostPort(text)).toEqual({ address: text, port: 0 });
  });
});
