// How long an x86-64 instruction is, and nothing else: enough to walk a function from its start.
// Source: Intel SDM volume 2, appendix A (opcode maps) and chapter 2 (prefixes, ModRM, VEX, EVEX).

/** Length of the instruction at `at`; 0 when it is none, or runs past the end of the code. */
export function instructionLength(code: Uint8Array, at: number): number {
  let p = at;
  let operand16 = false;
  let address32 = false;
  for (; isPrefix(code[p]); p++) {
    if (code[p] === 0x66) operand16 = true;
    else if (code[p] === 0x67) address32 = true;
  }
  let wide = false;
  if ((code[p]! & 0xf0) === 0x40) {
    wide = (code[p]! & 8) !== 0;
    p++;
  }
  const first = code[p++];
  if (first === undefined) return 0;

  let kind: number;
  if (first === 0xc4 || first === 0xc5 || first === 0x62) {
    const vector = vectorOpcode(code, p, first);
    p = vector.end;
    kind = vector.kind;
  } else if (first === 0x0f) {
    const second = code[p++]!;
    if (second === 0x38 || second === 0x3a) p++;
    kind = TWO_BYTE[second] ?? INVALID;
  } else kind = ONE_BYTE[first]!;

  if (kind & INVALID) return 0;
  if (kind & TEST_GROUP) {
    // f6 and f7: only /0 and /1 (test) have an immediate.
    kind = MODRM | ((code[p]! & 0x30) === 0 ? kind & (IMM8 | IMMZ) : 0);
  }
  if (kind & MODRM) p += modrmBytes(code, p);
  if (kind & IMM8) p += 1;
  if (kind & IMM16) p += 2;
  if (kind & IMMZ) p += operand16 && !wide ? 2 : 4;
  if (kind & REL32) p += 4;
  if (kind & IMMV) p += wide ? 8 : operand16 ? 2 : 4;
  if (kind & MOFFS) p += address32 ? 4 : 8;
  const length = p - at;
  return length <= MAX_INSTRUCTION_BYTES && p <= code.length ? length : 0;
}

const MAX_INSTRUCTION_BYTES = 15;

const MODRM = 1;
const IMM8 = 2;
const IMM16 = 4;
/** 4 bytes, 2 with the operand-size prefix. */
const IMMZ = 8;
const REL32 = 16;
/** As IMMZ, 8 with REX.W. */
const IMMV = 32;
/** An absolute address. */
const MOFFS = 64;
const TEST_GROUP = 128;
const INVALID = 256;

type Range = readonly [from: number, to: number, kind: number];

const ARITHMETIC: Range[] = [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38].flatMap((base): Range[] => [
  [base, base + 3, MODRM],
  [base + 4, base + 4, IMM8],
  [base + 5, base + 5, IMMZ],
  [base + 6, base + 7, INVALID],
]);

/** Ranges not listed have neither ModRM nor immediate. Opcodes that 64-bit mode does not have are invalid. */
const ONE_BYTE = opcodeMap(0, [
  ...ARITHMETIC,
  [0x40, 0x4f, INVALID], // a second REX prefix
  [0x60, 0x62, INVALID],
  [0x63, 0x63, MODRM],
  [0x68, 0x68, IMMZ],
  [0x69, 0x69, MODRM | IMMZ],
  [0x6a, 0x6a, IMM8],
  [0x6b, 0x6b, MODRM | IMM8],
  [0x70, 0x7f, IMM8],
  [0x80, 0x80, MODRM | IMM8],
  [0x81, 0x81, MODRM | IMMZ],
  [0x82, 0x82, INVALID],
  [0x83, 0x83, MODRM | IMM8],
  [0x84, 0x8f, MODRM],
  [0x9a, 0x9a, INVALID],
  [0xa0, 0xa3, MOFFS],
  [0xa8, 0xa8, IMM8],
  [0xa9, 0xa9, IMMZ],
  [0xb0, 0xb7, IMM8],
  [0xb8, 0xbf, IMMV],
  [0xc0, 0xc1, MODRM | IMM8],
  [0xc2, 0xc2, IMM16],
  [0xc6, 0xc6, MODRM | IMM8],
  [0xc7, 0xc7, MODRM | IMMZ],
  [0xc8, 0xc8, IMM16 | IMM8],
  [0xca, 0xca, IMM16],
  [0xcd, 0xcd, IMM8],
  [0xce, 0xce, INVALID],
  [0xd0, 0xd3, MODRM],
  [0xd4, 0xd6, INVALID],
  [0xd8, 0xdf, MODRM],
  [0xe0, 0xe7, IMM8],
  [0xe8, 0xe9, REL32],
  [0xea, 0xea, INVALID],
  [0xeb, 0xeb, IMM8],
  [0xf6, 0xf6, TEST_GROUP | IMM8],
  [0xf7, 0xf7, TEST_GROUP | IMMZ],
  [0xfe, 0xff, MODRM],
]);

/** After 0f. */
const TWO_BYTE = opcodeMap(MODRM, [
  [0x05, 0x09, 0],
  [0x0b, 0x0b, 0],
  [0x0e, 0x0e, 0],
  [0x0f, 0x0f, MODRM | IMM8],
  [0x30, 0x37, 0],
  [0x3a, 0x3a, MODRM | IMM8],
  [0x70, 0x73, MODRM | IMM8],
  [0x77, 0x77, 0],
  [0x80, 0x8f, REL32],
  [0xa0, 0xa2, 0],
  [0xa4, 0xa4, MODRM | IMM8],
  [0xa8, 0xaa, 0],
  [0xac, 0xac, MODRM | IMM8],
  [0xba, 0xba, MODRM | IMM8],
  [0xc2, 0xc2, MODRM | IMM8],
  [0xc4, 0xc6, MODRM | IMM8],
  [0xc8, 0xcf, 0],
]);

function opcodeMap(rest: number, ranges: readonly Range[]): Uint16Array {
  const map = new Uint16Array(256).fill(rest);
  for (const [from, to, kind] of ranges) map.fill(kind, from, to + 1);
  return map;
}

function isPrefix(byte: number | undefined): boolean {
  switch (byte) {
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
      return true;
    default:
      return false;
  }
}

/** VEX (c4, c5) and EVEX (62): which map the opcode is from decides about the immediate. */
function vectorOpcode(code: Uint8Array, p: number, prefix: number): { end: number; kind: number } {
  const map = prefix === 0xc5 ? 1 : prefix === 0xc4 ? code[p]! & 0x1f : code[p]! & 7;
  const at = p + (prefix === 0xc5 ? 1 : prefix === 0xc4 ? 2 : 3);
  const opcode = code[at];
  if (opcode === undefined) return { end: at, kind: INVALID };
  // vzeroupper and vzeroall are the only ones without ModRM.
  if (map === 1 && opcode === 0x77 && prefix !== 0x62) return { end: at + 1, kind: 0 };
  const immediate = map === 3 || (map === 1 && VECTOR_IMM8.has(opcode));
  return { end: at + 1, kind: immediate ? MODRM | IMM8 : MODRM };
}

const VECTOR_IMM8: ReadonlySet<number> = new Set([0x70, 0x71, 0x72, 0x73, 0xc2, 0xc4, 0xc5, 0xc6]);

/** ModRM, SIB and displacement. */
function modrmBytes(code: Uint8Array, p: number): number {
  const mod = code[p]! >> 6;
  const rm = code[p]! & 7;
  if (mod === 3) return 1;
  const sib = rm === 4 ? 1 : 0;
  const base = sib ? code[p + 1]! & 7 : rm;
  if (mod === 1) return 2 + sib;
  return 1 + sib + (mod === 2 || base === 5 ? 4 : 0);
}
