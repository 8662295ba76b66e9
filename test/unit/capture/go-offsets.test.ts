import { describe, expect, it } from 'vitest';
import { parseGoMinor, structOffsets } from '../../../services/capture/go/offsets.ts';
import type { GoFunction } from '../../../services/capture/go/program.ts';
import { findStatusOffset, STATUS_FUNCTION } from '../../../services/capture/go/status-offset.ts';

describe('structOffsets', () => {
  // goid, curg, RawQuery, status: from the debug data of programs built with these versions.
  it.each([
    ['go1.18', 152, 192, 96, 120, 'hmap'],
    ['go1.19.8', 152, 192, 96, 120, 'hmap'],
    ['go1.21.13', 152, 192, 96, 120, 'hmap'],
    ['go1.22.12', 152, 192, 96, 120, 'hmap'],
    ['go1.23.5', 160, 192, 96, 120, 'hmap'],
    ['go1.24.4', 160, 192, 96, 120, 'swiss'],
    ['go1.24.4 X:noswissmap', 160, 192, 96, 120, 'hmap'],
    ['go1.24.4 X:aliastypeparams,noswissmap', 160, 192, 96, 120, 'hmap'],
    ['go1.25.12', 152, 184, 96, 120, 'swiss'],
    ['go1.26.10', 152, 184, 88, 120, 'swiss'],
    ['go1.27.3', 152, 184, 88, 128, 'swiss'],
  ])('%s', (version, goid, curg, urlRawQuery, responseStatus, headerMap) => {
    const expected = { goid, curg, urlPath: 56, urlRawQuery, responseStatus, headerMap };
    expect(structOffsets(version, false)).toMatchObject(expected);
  });

  it('refuses what it does not know', () => {
    const unsupported = expect.objectContaining({ reason: 'unsupported_go' });
    for (const version of ['go1.17.13', 'go1.28', 'devel +3f2a1c', ''])
      expect(() => structOffsets(version, false)).toThrow(unsupported);
    expect(() => structOffsets('go1.17', true)).toThrow(unsupported);
    expect(() => structOffsets('', true)).toThrow(/older than 1\.18/);
    expect(structOffsets('devel go1.28-3f2a1c', true)).toEqual(structOffsets('go1.27', false));
  });
});

describe('parseGoMinor', () => {
  it.each([
    ['go1.24.4', 24],
    ['go1.27rc1', 27],
    ['devel go1.28-3f2a1c Tue', 28],
    ['devel +3f2a1c', undefined],
    ['', undefined],
  ])('%s', (text, minor) => expect(parseGoMinor(text)).toBe(minor));
});

describe('findStatusOffset', () => {
  it.each([
    ['mov %rcx,0x78(%rdi)', '48894f78', 120],
    ['content length at 0x78, status at 0x80', '48894178 48898f80000000', 128],
    ['with an extended register', '4c894f78', 120],
    ['a stack slot', '48895c2478', undefined],
    ['a 32-bit store', '894f78', undefined],
    ['a load', '488b4f78', undefined],
    ['another field', '48894f48', undefined],
  ])('%s', (_, hex, offset) => {
    const code = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    const fn: GoFunction = { name: STATUS_FUNCTION, vaddr: 0, fileOffset: 0, code, defers: false };
    expect(findStatusOffset(new Map([[STATUS_FUNCTION, [fn]]]))).toBe(offset);
  });
});
