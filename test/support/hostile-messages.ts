// Malformed, truncated, hostile and random messages for every subject, from a seed: the same seed, the same messages.
import { pack, unpack } from '../../schemas/codec.ts';
import {
  type ApiVerb,
  apiSubject,
  encodeToken,
  eventSubject,
  flowSubject,
  ledgerSubject,
  requestSubject,
  statusSubject,
} from '../../schemas/subjects.ts';
import { MESSAGES } from '../contract/messages.ts';

export const STREAM_TARGETS = ['uprobe', 'kprobe', 'flow', 'request', 'books'] as const;
export const API_TARGETS = ['flows', 'lookup', 'ledger'] as const;
export type Target = (typeof STREAM_TARGETS)[number] | (typeof API_TARGETS)[number] | 'status';

export interface HostileMessage {
  readonly target: Target;
  readonly subject: string;
  readonly schema: string;
  readonly data: Uint8Array;
  /** What was done to a good one, in words. */
  readonly deed: string;
  /** No reader may take it for a good one; of the others some are only odd. */
  readonly isBad: boolean;
}

type Made = Pick<HostileMessage, 'data' | 'isBad'> & Partial<Pick<HostileMessage, 'schema' | 'subject'>>;
type Deed = (good: Good, random: Random) => Made;

interface Good {
  readonly schema: string;
  readonly subject: string;
  readonly bytes: Buffer;
}

/** The host of the golden messages. */
const HOST = 'node-a.example.org';
const QUERIES = {
  flows: { v: 1, last: 20, sinceNs: 2n ** 60n },
  lookup: { v: 1, ends: [{ address: '10.0.0.7', port: 40_524 }], windowNs: 10n ** 9n, limit: 5 },
  ledger: { v: 1, host: HOST, sinceNs: 2n ** 60n },
};

const GOOD: Readonly<Record<Target, Good>> = {
  uprobe: good('uprobe.v1', eventSubject('uprobe', HOST)),
  kprobe: good('kprobe.v1', eventSubject('kprobe', HOST)),
  flow: good('flow.v1', flowSubject(HOST, 'orders')),
  request: good('request.v1', requestSubject(HOST, 'orders')),
  books: good('ledger.v1', ledgerSubject(HOST)),
  status: good('status.v1', statusSubject('capture', HOST)),
  flows: question('flows'),
  lookup: question('lookup'),
  ledger: question('ledger'),
};

/** A terminal that takes these at their word hides, recolours or retypes what is on it. */
export const TERMINAL_TEXTS = [
  '\x1b[2J\x1b[H',
  '\x1b]0;title\x07',
  '\x9b31m',
  '\r\nforged line',
  '\u202eGET /olleh',
  '\u200b\u2066\ufeff',
  'a\0b',
  '\ud800',
];

const NASTY: readonly unknown[] = [
  null,
  true,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -1,
  -0.5,
  2 ** 53,
  2 ** 53 - 1,
  65_536,
  2n ** 64n - 1n,
  -(2n ** 63n),
  '',
  'x'.repeat(70_000),
  '__proto__',
  ...TERMINAL_TEXTS,
  [],
  {},
  new Array(3_000).fill(0),
  { constructor: { prototype: { polluted: 1 } } },
  new Uint8Array(3),
  new Date(0),
  new Map([[1, 2]]),
];
const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'then', '', '\0', 'v'];
const SCHEMAS = [
  '',
  'flow.v2',
  'uprobe.v0',
  'kprobe',
  'FLOW.V1',
  '../flow.v1',
  'x'.repeat(3_000),
  '__proto__',
];

/** Bytes that claim far more than they bring: arrays, maps, strings, binaries, extensions. */
const CLAIMS = [
  'ddffffffff',
  'dd01ffffff',
  'dcffff',
  'dfffffffff',
  'deffff',
  'dbffffffff',
  'c6ffffffff',
].concat([
  'c9ffffffff01',
  'c6fffffff0',
  'c87fff72',
  'd6ff00000000',
  'd47200',
  'd67300000001',
  'd66200000010',
  'd57800ff',
]);

/** A stack ends between the last two; overflowing it costs a reader some milliseconds. */
const DEPTHS = [2, 10, 100, 300, 1_000, 1_000, 2_000, 2_000, 3_000, 30_000];

const DEEDS: Readonly<Record<string, Deed>> = {
  'bits flipped': ({ bytes }, random) => {
    const data = Buffer.from(bytes);
    for (let left = 1 + random.below(8); left > 0; left--) {
      const at = random.below(data.length);
      data[at] = data[at]! ^ (1 << random.below(8));
    }
    return { data, isBad: false };
  },
  truncated: ({ bytes }, random) => ({ data: bytes.subarray(0, random.below(bytes.length)), isBad: true }),
  'followed by more': ({ bytes }, random) => ({
    data: Buffer.concat([bytes, random.bytes(1 + random.below(64))]),
    isBad: true,
  }),
  'a piece repeated': ({ bytes }, random) => {
    const at = random.below(bytes.length);
    const piece = bytes.subarray(at, at + 1 + random.below(64));
    return { data: Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]), isBad: false };
  },
  'a piece left out': ({ bytes }, random) => {
    const at = random.below(bytes.length);
    return {
      data: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(64))]),
      isBad: false,
    };
  },
  'random bytes': (_, random) => ({ data: random.bytes(random.below(300)), isBad: false }),
  empty: () => ({ data: Buffer.alloc(0), isBad: true }),
  'a claim of much': (_, random) => ({
    data: Buffer.from(random.of(CLAIMS).repeat(1 + random.below(50)), 'hex'),
    isBad: true,
  }),
  'a claim inside': ({ bytes }, random) => {
    const data = Buffer.from(bytes);
    const claim = Buffer.from(random.of(CLAIMS), 'hex');
    data.set(claim.subarray(0, data.length), random.below(Math.max(1, data.length - claim.length)));
    return { data, isBad: false };
  },
  'deep nesting': (_, random) => ({
    data: Buffer.from(random.of(['91', '81a161', 'dc0001']).repeat(random.of(DEPTHS)), 'hex'),
    isBad: true,
  }),
  'another type of value': ({ bytes }, random) => ({
    data: pack(replaceSomewhere(unpack(bytes), random)),
    isBad: false,
  }),
  'a field left out': ({ bytes }, random) => {
    const value = unpack(bytes) as Record<string, unknown>;
    delete value[random.of(Object.keys(value))];
    return { data: pack(value), isBad: false };
  },
  'a field too many': ({ bytes }, random) => ({
    data: packMap([...entriesOf(bytes), [random.of(NAMES), random.of(NASTY)]]),
    isBad: false,
  }),
  'a field twice': ({ bytes }, random) => ({
    data: packMap([...entriesOf(bytes), [random.of(entriesOf(bytes))[0], random.of(NASTY)]]),
    isBad: false,
  }),
  'not a map': (_, random) => ({
    data: pack(random.of(NASTY.filter((value) => !isMap(value)))),
    isBad: true,
  }),
  'another schema': ({ bytes }, random) => ({ data: bytes, schema: random.of(SCHEMAS), isBad: true }),
  'another subject': ({ bytes, subject }, random) => {
    const tokens = subject.split('.');
    const at = 2 + random.below(tokens.length - 2);
    tokens[at] = random.of(['=', '=2', '=zz', '999999', '-1', 'ä', encodeToken('\x1b[2J'), 'x'.repeat(500)]);
    return { data: bytes, subject: tokens.join('.'), isBad: subject.includes('.ev.') };
  },
};

/** Deterministic: mulberry32. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

export function hostileMessage(random: Random, targets: readonly Target[]): HostileMessage {
  const target = random.of(targets);
  const original = GOOD[target];
  const deed = random.of(Object.keys(DEEDS));
  const { schema, subject } = original;
  return { target, subject, schema, deed, ...DEEDS[deed]!(original, random) };
}

function good(schema: string, subject: string): Good {
  return { schema, subject, bytes: Buffer.from(MESSAGES[schema]!()) };
}

function question(verb: ApiVerb): Good {
  return { schema: 'api.v1', subject: apiSubject(verb), bytes: Buffer.from(pack(QUERIES[verb])) };
}

/** One value in it, at any depth, by a nasty one. */
function replaceSomewhere(value: unknown, random: Random): unknown {
  if (Array.isArray(value) && value.length > 0 && random.below(4) > 0) {
    const at = random.below(value.length);
    return value.map((one, n) => (n === at ? replaceSomewhere(one, random) : one));
  }
  if (isMap(value) && random.below(8) > 0) {
    const name = random.of(Object.keys(value));
    return { ...value, [name]: replaceSomewhere(value[name], random) };
  }
  return random.of(NASTY);
}

function entriesOf(bytes: Uint8Array): [string, unknown][] {
  return Object.entries(unpack(bytes) as Record<string, unknown>);
}

/** A map with whatever names, in this order, repeated ones too. */
function packMap(entries: readonly (readonly [string, unknown])[]): Uint8Array {
  const head = Buffer.from([0xde, entries.length >> 8, entries.length & 0xff]);
  return Buffer.concat([head, ...entries.flatMap(([name, value]) => [pack(name), pack(value)])]);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && value.constructor === Object;
}
