import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { FLAG, VIA } from '../../../schemas/events.ts';
import type { Layout } from '../../../services/capture/bpf/btf.ts';
import { readLayout } from '../../../services/capture/bpf/btf.ts';
import * as generated from '../../../services/capture/bpf/layout.gen.ts';
import { fingerprintOf, layoutOf } from '../../../services/capture/bpf/layout.ts';

const OBJECT = 'build/flowtag.bpf.o';

interface BtfType {
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  readonly members?: readonly { readonly name: string; readonly bits_offset: number }[];
  readonly values?: readonly { readonly name: string; readonly val: number }[];
}

let object: Buffer;
let layout: Layout;
beforeAll(() => {
  if (!existsSync(OBJECT)) execFileSync('make', ['-s', '-C', 'bpf']);
  object = readFileSync(OBJECT);
  layout = layoutOf(object);
}, 60_000);

describe('the layout of the BPF object', () => {
  it('is what bpftool reads from it', (context) => {
    const types = bpftoolTypes();
    if (!types) return context.skip('no bpftool: apt-get install bpftool');
    for (const [name, { size, fields }] of Object.entries(layout.structs)) {
      const type = types.find((candidate) => candidate.kind === 'STRUCT' && candidate.name === name)!;
      const named = type.members!.filter((member) => !member.name.startsWith('_pad'));
      expect(size, name).toBe(type.size);
      expect(fields, name).toEqual(
        Object.fromEntries(named.map((member) => [member.name, member.bits_offset / 8])),
      );
    }
    for (const [name, values] of Object.entries(layout.enums)) {
      const type = types.find((candidate) => candidate.kind === 'ENUM' && candidate.name === name)!;
      expect(values, name).toEqual(Object.fromEntries(type.values!.map(({ name: key, val }) => [key, val])));
    }
  });

  it('is what the generated file says', () => {
    expect(fingerprintOf(layout)).toBe(generated.FINGERPRINT);
    const constants: Readonly<Record<string, unknown>> = { ...generated };
    for (const [name, { size, fields }] of Object.entries(layout.structs))
      expect(constants[name.toUpperCase()], name).toEqual({ size, ...fields });
    for (const [name, values] of Object.entries(layout.enums))
      expect(constants[name.toUpperCase()], name).toEqual(values);
  });

  it('is refused when a type is missing, with its name', () => {
    expect(() => readLayout(object, ['request_start', 'no_such'], [])).toThrow('struct no_such is not in');
    expect(() => readLayout(object, [], ['no_such'])).toThrow('enum no_such is not in');
  });

  it('is refused of what is not a compiled BPF object', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('#!/bin/sh\n'.repeat(20))])
      expect(() => layoutOf(bytes)).toThrow('not an ELF file');
    expect(() => layoutOf(readFileSync('/bin/true'))).toThrow('no .BTF section: compile it with -g');
  });
});

describe('the fingerprint', () => {
  it('changes with any size, offset, value or name', () => {
    const all = [fingerprintOf(layout)];
    for (const [name, struct] of Object.entries(layout.structs)) {
      const put = (change: object) =>
        all.push(
          fingerprintOf({ ...layout, structs: { ...layout.structs, [name]: { ...struct, ...change } } }),
        );
      put({ size: struct.size + 8 });
      for (const [field, offset] of Object.entries(struct.fields)) {
        put({ fields: { ...struct.fields, [field]: offset + 1 } });
        const { [field]: _, ...rest } = struct.fields;
        put({ fields: { ...rest, [`${field}_`]: offset } });
      }
    }
    for (const [name, values] of Object.entries(layout.enums))
      for (const [key, value] of Object.entries(values))
        all.push(
          fingerprintOf({ ...layout, enums: { ...layout.enums, [name]: { ...values, [key]: value + 100 } } }),
        );
    expect(all.length).toBeGreaterThan(100);
    expect(new Set(all).size).toBe(all.length);
  });

  it('is the same for the same layout', () => {
    expect(fingerprintOf(layoutOf(Buffer.from(object)))).toBe(fingerprintOf(layout));
  });
});

function bpftoolTypes(): readonly BtfType[] | undefined {
  try {
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
    const json = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', OBJECT], { encoding: 'utf8', env });
    return (JSON.parse(json) as { types: BtfType[] }).types;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

describe('the numbers that events carry unmapped', () => {
  it('mean the same in the kernel and on the bus', () => {
    const kernel = (names: object) => Object.values(names).sort((a, b) => a - b);
    expect(kernel(generated.VIA)).toEqual(kernel(VIA));
    expect(kernel(generated.EVENT_FLAG)).toEqual(kernel(FLAG));
    expect(generated.VIA.VIA_POOLED).toBe(VIA.pooled);
    expect(generated.VIA.VIA_DIAL).toBe(VIA.dial);
    expect(generated.EVENT_FLAG.FLAG_MAP_FULL).toBe(FLAG.mapFull);
    expect(generated.EVENT_FLAG.FLAG_PATH_TRUNCATED).toBe(FLAG.pathTruncated);
  });
});
