import { describe, expect, it } from 'vitest';
import { splitHostPort } from '../../../services/capture/address.ts';

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
