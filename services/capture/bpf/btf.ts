// Reads struct layouts and enums from the BTF of a compiled BPF object (bytes in, values out). Format:
// https://docs.kernel.org/bpf/btf.html. Used to generate layout.gen.ts and, at start, to compare with it.

export interface Layout {
  /** struct name → its size and the byte offset of every named field; `_pad…` fields are left out. */
  readonly structs: Readonly<
    Record<string, { readonly size: number; readonly fields: Readonly<Record<string, number>> }>
  >;
  readonly enums: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const BTF_MAGIC = 0xeb9f;
const KIND = {
  int: 1,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  funcProto: 13,
  var: 14,
  datasec: 15,
  declTag: 17,
  enum64: 19,
};

/** Layout of the named structs and enums; throws when the object has no BTF or lacks one of them. */
export function readLayout(
  object: Buffer,
  structNames: readonly string[],
  enumNames: readonly string[],
): Layout {
  const btf = sectionOf(object, '.BTF');
  if (!btf) throw new Error('the BPF object has no .BTF section: compile it with -g');
  if (btf.readUInt16LE(0) !== BTF_MAGIC) throw new Error('the .BTF section has an unknown format');
  const headerLength = btf.readUInt32LE(4);
  const types = btf.subarray(headerLength + btf.readUInt32LE(8)).subarray(0, btf.readUInt32LE(12));
  const strings = btf.subarray(headerLength + btf.readUInt32LE(16)).subarray(0, btf.readUInt32LE(20));

  const structs: Record<string, { size: number; fields: Record<string, number> }> = {};
  const enums: Record<string, Record<string, number>> = {};
  for (let at = 0; at < types.length; ) {
    const name = text(strings, types.readUInt32LE(at));
    const info = types.readUInt32LE(at + 4);
    const count = info & 0xffff;
    const kind = (info >>> 24) & 0x1f;
    const members = at + 12;
    if (kind === KIND.struct && structNames.includes(name)) {
      const fields: Record<string, number> = {};
      for (let i = 0; i < count; i++) {
        const field = text(strings, types.readUInt32LE(members + 12 * i));
        if (!field.startsWith('_pad'))
          fields[field] = (types.readUInt32LE(members + 12 * i + 8) & 0xffffff) / 8;
      }
      structs[name] = { size: types.readUInt32LE(at + 8), fields };
    }
    if (kind === KIND.enum && enumNames.includes(name)) {
      const values: Record<string, number> = {};
      for (let i = 0; i < count; i++)
        values[text(strings, types.readUInt32LE(members + 8 * i))] = types.readInt32LE(members + 8 * i + 4);
      enums[name] = values;
    }
    at = members + trailerLength(kind, count);
  }
  for (const name of structNames)
    if (!structs[name]) throw new Error(`struct ${name} is not in the object's BTF`);
  for (const name of enumNames) if (!enums[name]) throw new Error(`enum ${name} is not in the object's BTF`);
  return { structs, enums };
}

function trailerLength(kind: number, count: number): number {
  if (kind === KIND.int || kind === KIND.var || kind === KIND.declTag) return 4;
  if (kind === KIND.array) return 12;
  if (kind === KIND.struct || kind === KIND.union || kind === KIND.datasec || kind === KIND.enum64)
    return 12 * count;
  if (kind === KIND.enum || kind === KIND.funcProto) return 8 * count;
  return 0; // pointers, typedefs, qualifiers, forwards, functions, floats, type tags
}

function text(strings: Buffer, offset: number): string {
  return strings.toString('latin1', offset, strings.indexOf(0, offset));
}

/** A section of a 64-bit little-endian ELF file by name. */
function sectionOf(elf: Buffer, wanted: string): Buffer | undefined {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46)
    throw new Error('the BPF object is not an ELF file');
  const table = Number(elf.readBigUInt64LE(40));
  const entrySize = elf.readUInt16LE(58);
  const count = elf.readUInt16LE(60);
  const bodyOf = (index: number): Buffer => {
    const at = table + index * entrySize;
    const offset = Number(elf.readBigUInt64LE(at + 24));
    return elf.subarray(offset, offset + Number(elf.readBigUInt64LE(at + 32)));
  };
  const names = bodyOf(elf.readUInt16LE(62));
  for (let index = 0; index < count; index++)
    if (text(names, elf.readUInt32LE(table + index * entrySize)) === wanted) return bodyOf(index);
  return undefined;
}
