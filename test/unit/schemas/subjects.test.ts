import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeToken,
  encodeToken,
  eventSubject,
  flowSubject,
  isOfPartition,
  PARTITIONS,
  parseEventSubject,
  partitionOf,
} from '../../../schemas/subjects.ts';

/** Any well-formed text, NATS specials and the escape character more often than chance would. */
const names = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom('.', '*', '>', ' ', '=', '-', '_', '\0', '\n', 'é', '😀', 'a', '4', 'F'),
  }),
);

describe('a token', () => {
  it('gives back any name', () => {
    fc.assert(fc.property(names, (name) => decodeToken(encodeToken(name)) === name));
  });

  it('is one subject token for NATS, whatever the name', () => {
    fc.assert(fc.property(names, (name) => /^[A-Za-z0-9_=-]+$/.test(encodeToken(name))));
  });

  it('differs for different names', () => {
    fc.assert(
      fc.property(names, names, (a, b) => (a === b ? fc.pre(false) : encodeToken(a) !== encodeToken(b))),
    );
  });

  it('leaves ordinary names readable', () => {
    expect(encodeToken('node-7_b')).toBe('node-7_b');
    expect(encodeToken('db.example.org')).toBe('db=2Eexample=2Eorg');
    expect(encodeToken('')).toBe('=');
  });

  it('of text that is not well-formed is that of its replacement', () => {
    expect(decodeToken(encodeToken('a\ud800'))).toBe('a\ufffd');
  });

  it.each([
    ['nothing', ''],
    ['a dot', 'a.b'],
    ['a lone escape inside', 'a='],
    ['a lower-case escape', 'a=2e'],
    ['an escape that was not needed', '=61'],
    ['bytes that are not UTF-8', '=FF'],
    ['a wildcard', '*'],
    ['a line break at the end', 'a\n'],
  ])('is refused with %s', (_, token) => {
    expect(decodeToken(token)).toBeUndefined();
  });

  it('is refused, or the token of the name it gives', () => {
    const texts = fc.string({ unit: fc.constantFrom('=', '2', 'E', 'e', 'F', 'C', '3', 'a', '-', '.') });
    fc.assert(
      fc.property(texts, (token) => {
        const name = decodeToken(token);
        return name === undefined || encodeToken(name) === token;
      }),
    );
  });
});

describe('a subject', () => {
  it('names kind, partition and host of an event batch', () => {
    const kinds = fc.constantFrom('uprobe' as const, 'kprobe' as const);
    fc.assert(
      fc.property(kinds, names, fc.nat(255), (kind, host, bucket) => {
        const parsed = parseEventSubject(eventSubject(kind, host, bucket));
        expect(parsed).toEqual({ kind, host, partition: partitionOf(encodeToken(host), bucket) });
      }),
    );
  });

  it('brings both kinds of event of a host to one partition', () => {
    expect(eventSubject('uprobe', 'node-a')).toBe('flowtag.ev.uprobe.25.node-a');
    expect(eventSubject('kprobe', 'node-a')).toBe('flowtag.ev.kprobe.25.node-a');
  });

  it.each([
    'flowtag.ev.uprobe.1',
    'flowtag.ev.uprobe.1.a.b',
    'flowtag.ev.fentry.1.a',
    'flowtag.ev.uprobe.x.a',
    'flowtag.ev.uprobe.32.a',
    'flowtag.ev.uprobe.01.a',
    'flowtag.ev.uprobe.1.=ff',
    'x.flowtag.ev.uprobe.1.a',
    'flowtag.flow.a.b',
  ])('is not one of events: %s', (subject) => {
    expect(parseEventSubject(subject)).toBeUndefined();
  });

  it('is of a partition, or read by nobody', () => {
    expect(isOfPartition(eventSubject('uprobe', 'node-a'))).toBe(true);
    expect(isOfPartition('flowtag.ev.fentry.31.=ff')).toBe(true);
    for (const stray of [
      'flowtag.ev.x',
      'flowtag.ev.uprobe.32.a',
      'flowtag.ev.uprobe.01.a',
      'flowtag.ev.uprobe.1.a.b',
    ])
      expect(isOfPartition(stray)).toBe(false);
  });

  it('keeps host and service apart', () => {
    expect(flowSubject('a.b', 'c')).toBe('flowtag.flow.a=2Eb.c');
    expect(flowSubject('a', 'b.c')).toBe('flowtag.flow.a.b=2Ec');
  });
});

describe('a partition', () => {
  /** FNV-1a-32 as its authors define it, in integers of any size. */
  const fnv1a = (text: string) => {
    let hash = 2_166_136_261n;
    for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 16_777_619n) % 2n ** 32n;
    return hash;
  };

  it('is FNV-1a-32 of token and bucket, mod 32', () => {
    expect(fnv1a('')).toBe(0x811c9dc5n); // published vectors of FNV-1a-32
    expect(fnv1a('foobar')).toBe(0xbf9cf968n);
    fc.assert(
      fc.property(names, fc.nat(255), (name, bucket) => {
        const token = encodeToken(name);
        return partitionOf(token, bucket) === Number(fnv1a(`${token}${bucket}`) % BigInt(PARTITIONS));
      }),
    );
  });

  it.each([
    ['node-a', 0, 25],
    ['node-a', 1, 6],
    ['node-b', 0, 2],
    ['=', 0, 8],
    ['db=2Eexample=2Eorg', 7, 16],
  ])('of %s, bucket %i, is %i for ever: readers and writers of every version agree', (token, bucket, is) => {
    expect(partitionOf(token, bucket)).toBe(is);
  });
});
