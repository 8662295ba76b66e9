import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lookupQuery } from '../../../schemas/api.ts';
import { formatAddress, formatEndpoint, parseAddress } from '../../../schemas/ip-address.ts';
import { parseEndpoint } from '../../../services/cli/endpoint.ts';
import { describeKey, parseLookupKey } from '../../../services/cli/lookup-key.ts';
import { parseDuration, parseTime } from '../../../services/cli/time-argument.ts';
import { clockTime, elapsed, localDateTime, rfc3339 } from '../../../services/cli/time-text.ts';

const local = (hours: number, minutes = 0, seconds = 0, day = 22): bigint =>
  BigInt(new Date(2026, 10, day, hours, minutes, seconds).getTime()) * 1_000_000n;

describe('endpoint', () => {
  it.each([
    ['1.2.3.4:80', '1.2.3.4', 80],
    ['[::1]:80', '::1', 80],
    ['[2001:0DB8:0:0:0:0:0:1]:65535', '2001:db8::1', 65_535],
    ['[2001:db8:0:0:1:0:0:1]:1', '2001:db8::1:0:0:1', 1],
    ['[::ffff:10.0.0.9]:5432', '10.0.0.9', 5432],
    ['[::ffff:0a00:0009]:5432', '10.0.0.9', 5432],
    ['[64:ff9b::10.0.0.9]:5432', '64:ff9b::a00:9', 5432],
  ])('%s', (text, address, port) => {
    expect(parseEndpoint(text)).toEqual({ address, port });
  });

  it.each([
    ['::1.80', /not address:port/],
    ['::1', /without brackets; give for example \[::1\]:5432/],
    ['2001:db8::1:80', /without brackets/],
    ['10.0.0.9', /no port; give for example 10\.0\.0\.9:5432/],
    ['10.0.0.9:0', /between 1 and 65535/],
    ['10.0.0.9:65536', /between 1 and 65535/],
    ['010.0.0.9:80', /not address:port/],
    ['10.0.0.256:80', /not address:port/],
    ['[10.0.0.9]:80', /not address:port/],
    ['[fe80::1%eth0]:80', /leave out "%eth0"/],
    ['localhost:80', /names a host/],
    ['10.0.0.9:http', /not address:port/],
    ['10.0.0.9: 80', /not address:port/],
    ['', /not address:port/],
  ])('refuses %s', (text, problem) => {
    expect(() => parseEndpoint(text)).toThrow(problem);
  });

  it('reads back what it prints', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }), (raw, port) => {
        const address = formatAddress(parseAddress(raw)!);
        expect(parseEndpoint(formatEndpoint(address, port))).toEqual({ address, port });
      }),
    );
  });
});

describe('look-up key', () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  it.each([
    [['10.0.0.7:1'], { ends: [{ address: '10.0.0.7', port: 1 }] }, '10.0.0.7:1'],
    [
      ['[::1]:2', '10.0.0.7:1'],
      {
        ends: [
          { address: '::1', port: 2 },
          { address: '10.0.0.7', port: 1 },
        ],
      },
      '[::1]:2 and 10.0.0.7:1',
    ],
    [[trace.toUpperCase()], { traceId: trace }, `trace id ${trace}`],
    [[`00-${trace}-00f067aa0ba902b7-01`], { traceId: trace }, `trace id ${trace}`],
    [['/v1/orders/42'], { path: '/v1/orders/42' }, 'path /v1/orders/42'],
    [
      ['1:LQU9qZlK+B5F3KDmev6m5PMibrg='],
      { communityId: '1:LQU9qZlK+B5F3KDmev6m5PMibrg=' },
      'Community ID 1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
    ],
  ])('%s', (terms, key, text) => {
    expect(parseLookupKey(terms)).toEqual(key);
    expect(describeKey(parseLookupKey(terms))).toBe(text);
    expect(lookupQuery.safeParse({ v: 1, ...key, windowNs: 1n, limit: 1 }).success).toBe(true);
  });

  it.each([
    [['1:LQU9qZlK+B5F3KDmev6m5PMibrg'], /not a Community ID/],
    [['4bf92f3577b34da6a3ce929d0e0e473'], /not a trace id/],
    [['10.0.0.7:1', '/path'], /"\/path" is not address:port/],
    [[], /nothing to look up/],
  ])('refuses %j', (terms, problem) => {
    expect(() => parseLookupKey(terms)).toThrow(problem);
  });
});

describe('duration', () => {
  it.each([
    ['500ms', 500],
    ['20s', 20_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
  ])('%s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  it.each(['', '5', 'm', '5 m', '-5m', '0s', '5x', '5m!', '9999999d', '1e3s'])('refuses "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow(/duration/);
  });
});

describe('time', () => {
  const now = local(14);
  it.each([
    ['now', now],
    ['5m', local(13, 55)],
    ['2h', local(12)],
    ['13:00:01', local(13, 0, 1)],
    ['13:00', local(13)],
    ['13:00:01.123', local(13, 0, 1) + 123_000_000n],
    ['15:00:00', local(15, 0, 0, 21)],
    ['2026-11-22T13:00:01Z', 1_795_352_401_000_000_000n],
    ['2026-11-22T14:00:01.000000007+01:00', 1_795_352_401_000_000_007n],
    ['2026-11-22 13:00:01z', 1_795_352_401_000_000_000n],
  ])('%s', (text, ns) => {
    expect(parseTime(text, now)).toBe(ns);
  });
  it.each([
    ['2026-11-22T13:00:01', /no time zone/],
    ['2026-11-22', /no time zone/],
    ['2026-02-31T13:00:01Z', /does not exist/],
    ['2026-11-22T25:00:01Z', /does not exist/],
    ['25:00:00', /not a time of day/],
    ['yesterday', /is not a time; give for example 5m/],
    ['5 m', /is not a/],
    ['', /is not a time/],
  ])('refuses "%s"', (text, problem) => {
    expect(() => parseTime(text, now)).toThrow(problem);
  });

  it('reads back RFC 3339', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 4_102_444_800_000_000_000n }), (ns) => {
        expect(parseTime(rfc3339(ns), now)).toBe(ns);
      }),
    );
  });
});

describe('time as text', () => {
  it.each([
    [0n, '1970-01-01T00:00:00.000000000Z'],
    [-1n, '1969-12-31T23:59:59.999999999Z'],
    [1_795_352_401_000_000_007n, '2026-11-22T13:00:01.000000007Z'],
    [2n ** 64n - 1n, '2554-07-21T23:34:33.709551615Z'],
  ])('%s', (ns, text) => {
    expect(rfc3339(ns)).toBe(text);
  });
  it('local', () => {
    expect(clockTime(local(9, 5, 7) + 8_999_999n)).toBe('09:05:07.008');
    expect(localDateTime(local(9, 5, 7) + 8_999_999n)).toBe('2026-11-22 09:05:07.008999');
  });
  it.each([
    [0n, '+0.0ms'],
    [2_100_000n, '+2.1ms'],
    [-2_100_000n, '-2.1ms'],
    [999_900_000n, '+999.9ms'],
    [999_960_000n, '+1.0s'],
    [12_340_000_000n, '+12.3s'],
    [59_949_000_000n, '+59.9s'],
    [59_960_000_000n, '+1m00s'],
    [303_000_000_000n, '+5m03s'],
  ])('elapsed %s', (ns, text) => {
    expect(elapsed(ns)).toBe(text);
  });
});
