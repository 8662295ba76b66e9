import { describe, expect, it } from 'vitest';
import { parseElf } from '../../../services/capture/go/elf.ts';
import { findTlsOffset } from '../../../services/capture/go/tls.ts';

const SLOT = 0x300;

describe('findTlsOffset', () => {
  it.each([
    ['mov %rdx,%fs:-8', '6448891425f8ffffff', -8],
    ['mov $-8,%rcx; mov %rdx,%fs:(%rcx)', '48c7c1f8ffffff 64488911', -8],
    ['the same with %r9', '49c7c1a8ffffff 64498911', -88],
    ['code before it', '90 4989d6 6448891425a8ffffff', -88],
    ['another register loaded', '48c7c0f8ffffff 64488911', undefined],
    ['an offset above the block', '644889142508000000', undefined],
    ['no access', '4989d6 c3', undefined],
  ])('%s', (_, hex, offset) => {
    expect(findTlsOffset(parseElf(image()), gogo(hex))).toBe(offset);
  });

  // mov SLOT(%rip),%rcx at address 0x200, then mov %rdx,%fs:(%rcx)
  const throughSlot = gogo('488b0df9000000 64488911');

  it('follows the relocation of the slot: symbol and addend from the start of the padded block', () => {
    const relocations = [
      { offset: 0x888, type: 18, symbol: 0, addend: 0x40 },
      { offset: SLOT, type: 8, symbol: 0, addend: 0x40 },
      { offset: SLOT, type: 18, symbol: 0, addend: 0x10 },
    ];
    // 0x51 bytes in a block aligned to 16: 0x60.
    expect(findTlsOffset(parseElf(image(relocations)), throughSlot)).toBe(0x10 - 0x60);
    relocations[2]!.symbol = 1;
    expect(findTlsOffset(parseElf(image(relocations)), throughSlot)).toBe(0x10 + 0x20 - 0x60);
  });

  it('takes what the file has in the slot when nothing relocates it', () => {
    const bytes = image();
    bytes.writeBigInt64LE(-24n, SLOT);
    expect(findTlsOffset(parseElf(bytes), throughSlot)).toBe(-24);
  });
});

function gogo(hex: string) {
  const code = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return new Map([['gogo', [{ name: 'gogo', vaddr: 0x200, fileOffset: 0x200, code, defers: false }]]]);
}

interface Relocation {
  readonly offset: number;
  readonly type: number;
  symbol: number;
  readonly addend: number;
}

/** An ELF file whose addresses are its file offsets: dynamic table at 0x400, relocations 0x500, symbols 0x600. */
function image(relocations: readonly Relocation[] = []): Buffer {
  const bytes = Buffer.alloc(0x1000);
  Buffer.from('7f454c46020101', 'hex').copy(bytes);
  bytes.writeUInt16LE(3, 16);
  bytes.writeUInt16LE(62, 18);
  const segments = [
    { type: 1, offset: 0, size: bytes.length, align: 4096 },
    { type: 7, offset: 0x700, size: 0x51, align: 16 },
    { type: 2, offset: 0x400, size: 64, align: 8 },
  ];
  bytes.writeUInt32LE(64, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(segments.length, 56);
  for (const [i, { type, offset, size, align }] of segments.entries()) {
    const at = 64 + 56 * i;
    bytes.writeUInt32LE(type, at);
    for (const [field, value] of [offset, offset, offset, size, size, align].entries())
      bytes.writeUInt32LE(value, at + 8 + 8 * field);
  }
  const dynamic = [7, 0x500, 8, 24 * relocations.length, 6, 0x600];
  for (const [i, value] of dynamic.entries()) bytes.writeUInt32LE(value, 0x400 + 8 * i);
  for (const [i, { offset, type, symbol, addend }] of relocations.entries())
    for (const [field, value] of [offset, 0, type, symbol, addend, 0].entries())
      bytes.writeUInt32LE(value, 0x500 + 24 * i + 4 * field);
  // Symbol 1 lies 0x20 bytes into the block.
  bytes.writeUInt32LE(0x20, 0x600 + 24 + 8);
  return bytes;
}
