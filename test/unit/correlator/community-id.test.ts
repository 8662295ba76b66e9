import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { communityId } from '../../../services/correlator/community-id.ts';

describe('communityId', () => {
  // Published with the specification (github.com/corelight/community-id-spec) and its reference implementation.
  it.each([
    ['128.232.110.120', 34_855, '66.35.250.204', 80, '1:LQU9qZlK+B5F3KDmev6m5PMibrg='],
    ['66.35.250.204', 80, '128.232.110.120', 34_855, '1:LQU9qZlK+B5F3KDmev6m5PMibrg='],
    [
      '2001:470:e5bf:dead:4957:2174:e82c:4887',
      63_943,
      '2607:f8b0:400c:c03::1a',
      25,
      '1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=',
    ],
    [
      '2607:f8b0:400c:c03::1a',
      25,
      '2001:470:e5bf:dead:4957:2174:e82c:4887',
      63_943,
      '1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=',
    ],
  ])('%s:%i %s:%i', (local, localPort, peer, peerPort, expected) => {
    expect(communityId(local, localPort, peer, peerPort)).toBe(expected);
  });

  it.each([
    ['', '10.0.0.1'],
    ['10.0.0.1', '::1'],
    ['10.0.0.256', '10.0.0.1'],
    ['10.0.0', '10.0.0.1'],
    ['10.0.0.1.2', '10.0.0.1'],
    ['1..2.3', '10.0.0.1'],
    ['::1::', '::1'],
    ['1:2:3:4:5:6:7', '::1'],
    ['1:2:3:4:5:6:7:8::', '::1'],
    ['fe80::1%eth0', '::1'],
    ['host', '10.0.0.1'],
    ['010.0.0.1', '10.0.0.2'],
    ['1.2.3.4::1', '::1'],
  ])('is null for %s and %s', (local, peer) => {
    expect(communityId(local, 1, peer, 2)).toBeNull();
  });

  it('takes an IPv4-mapped address for what it is on the wire', () => {
    expect(communityId('::ffff:10.0.0.1', 1, '10.0.0.2', 2)).toBe(communityId('10.0.0.1', 1, '10.0.0.2', 2));
  });

  it('agrees with a plain implementation, in both directions', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6());
    const port = fc.nat({ max: 65_535 });
    fc.assert(
      fc.property(address, port, address, port, (local, localPort, peer, peerPort) => {
        const id = communityId(local, localPort, peer, peerPort);
        expect(id).toBe(plain(local, localPort, peer, peerPort));
        expect(communityId(peer, peerPort, local, localPort)).toBe(id);
      }),
      { numRuns: 500 },
    );
  });
});

function plain(local: string, localPort: number, peer: string, peerPort: number): string | null {
  const ends = [
    { hex: toHex(local), port: localPort },
    { hex: toHex(peer), port: peerPort },
  ];
  if (ends[0]!.hex.length !== ends[1]!.hex.length) return null;
  ends.sort((a, b) => (a.hex === b.hex ? a.port - b.port : a.hex < b.hex ? -1 : 1));
  const ports = ends.map(({ port }) => port.toString(16).padStart(4, '0')).join('');
  const message = `0000${ends[0]!.hex}${ends[1]!.hex}0600${ports}`;
  return `1:${createHash('sha1').update(Buffer.from(message, 'hex')).digest('base64')}`;
}

/** Through URL's own canonical form, so that nothing is shared with the code under test. */
function toHex(address: string): string {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number)).toString('hex');
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [left, right] = canonical.split('::') as [string, string | undefined];
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const before = groups(left);
  const after = right === undefined ? [] : groups(right);
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join('');
}
