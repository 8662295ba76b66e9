// Executables are untrusted input: whatever the bytes are, an answer or a GoBinaryError, soon.
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GoBinaryError } from '../../../services/capture/go/go-binary-error.ts';
import { parseGoBinary } from '../../../services/capture/go/read-go-binary.ts';
import { BUILD_TIMEOUT_MS, type GoBuilds, openGoBuilds } from './go-builds.ts';

const MAX_PARSE_MS = 5_000;
let go: GoBuilds;
let exe: Buffer;

beforeAll(async () => {
  go = await openGoBuilds();
  exe = await readFile(await go.build('server', ['-ldflags=-s -w']));
}, BUILD_TIMEOUT_MS);
afterAll(() => go.delete());

describe('damaged executables', () => {
  it('never do more than throw a GoBinaryError when they are any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => outcome(Buffer.from(bytes)) !== 'parsed'),
    );
    const headed = fc.uint8Array({ minLength: 64, maxLength: 8192 });
    fc.assert(
      fc.property(headed, (bytes) => {
        const file = Buffer.from(bytes);
        exe.copy(file, 0, 0, 24);
        outcome(file);
      }),
    );
  });

  it('never do more than that when cut off', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: exe.length - 1 }), (length) => {
        outcome(exe.subarray(0, length));
      }),
    );
  });

  it('never do more than that with bits flipped where the structure is', { timeout: 120_000 }, () => {
    const table = exe.indexOf(Buffer.from('ffffff00000108', 'hex')) - 1;
    const info = exe.indexOf('\xff Go buildinf:', 0, 'latin1');
    const place = fc.oneof(
      fc.integer({ min: 0, max: 64 + 56 * exe.readUInt16LE(56) }),
      fc.integer({ min: table, max: table + 96 }),
      fc.integer({ min: info, max: info + 64 }),
      fc.integer({ min: table, max: exe.length - 1 }),
    );
    const flips = fc.array(fc.tuple(place, fc.integer({ min: 0, max: 7 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(flips, (changes) => {
        for (const [at, bit] of changes) exe[at]! ^= 1 << bit;
        try {
          outcome(exe);
        } finally {
          for (const [at, bit] of changes.toReversed()) exe[at]! ^= 1 << bit;
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('executables made to keep the reader busy', () => {
  it('are refused when their addresses leave what a process can have', () => {
    const bytes = Buffer.from(exe);
    // Beyond 2^53 a step of 16 would go nowhere.
    for (const at of loadHeaders(bytes)) bytes.writeUInt32LE(0x4000_0000, at + 16 + 4);
    expect(outcome(bytes)).toBe('not_elf');
  });

  it('are refused when their segments are the same bytes many times', () => {
    const bytes = Buffer.from(exe);
    for (const at of loadHeaders(bytes)) {
      bytes.writeBigUInt64LE(0n, at + 8);
      bytes.writeBigUInt64LE(BigInt(bytes.length), at + 32);
    }
    expect(outcome(bytes)).toBe('not_elf');
  });

  it('are searched for a text start that is not there only so far', () => {
    const bytes = Buffer.from(exe);
    const table = bytes.indexOf(Buffer.from('ffffff00000108', 'hex')) - 1;
    const count = Number(bytes.readBigUInt64LE(table + 8));
    const functions = table + Number(bytes.readBigUInt64LE(table + 64));
    // Two functions of three are not where the table says, and not all by the same distance.
    for (let i = 0; i < count; i++)
      bytes.writeUInt32LE(bytes.readUInt32LE(functions + 8 * i) + 7 * (i % 3), functions + 8 * i);
    expect(outcome(bytes)).toBe('no_symbols');
  });
});

describe('other Go versions', () => {
  it('are refused when unknown, unless allowed', () => {
    const version = parseGoBinary(exe).goVersion;
    const newer = withVersion(version, 'go1.99');
    expect(() => parseGoBinary(newer)).toThrow(expect.objectContaining({ reason: 'unsupported_go' }));
    expect(parseGoBinary(newer, { allowUnknownGo: true })).toMatchObject({ minor: 99 });
    const older = withVersion(version, 'go1.17');
    expect(() => parseGoBinary(older, { allowUnknownGo: true })).toThrow(/too old/);
  });

  it('are refused as such when the function table is of another kind', () => {
    const bytes = Buffer.from(exe);
    const table = bytes.indexOf(Buffer.from('ffffff00000108', 'hex')) - 1;
    bytes[table] = 0xfa;
    expect(() => parseGoBinary(bytes)).toThrow(expect.objectContaining({ reason: 'no_symbols' }));
  });
});

/** 'parsed' or the reason; anything else that happens fails the test. */
function outcome(bytes: Buffer): string {
  const start = performance.now();
  try {
    parseGoBinary(bytes);
    return 'parsed';
  } catch (error) {
    if (!(error instanceof GoBinaryError)) throw error;
    return error.reason;
  } finally {
    expect(performance.now() - start).toBeLessThan(MAX_PARSE_MS);
  }
}

/** Where the program headers of the loaded segments are. */
function loadHeaders(bytes: Buffer): number[] {
  const headers = Array.from({ length: bytes.readUInt16LE(56) }, (_, i) => 64 + 56 * i);
  return headers.filter((at) => bytes.readUInt32LE(at) === 1);
}

/** Another version of the same length or shorter, padded as a suffix that version strings may have. */
function withVersion(from: string, to: string): Buffer {
  const bytes = Buffer.from(exe);
  const at = bytes.indexOf(from, bytes.indexOf('\xff Go buildinf:', 0, 'latin1'));
  bytes.write(to.padEnd(from.length), at);
  return bytes;
}
