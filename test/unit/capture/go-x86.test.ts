import { describe, expect, it } from 'vitest';
import { type GoFunction, stackCheckBranch } from '../../../services/capture/go/program.ts';
import { instructionLength } from '../../../services/capture/go/x86.ts';
import { emulatedAfter } from '../../../services/capture/go/x86-result.ts';

describe('instructionLength', () => {
  // One or more of every form, as binutils' objdump shows them.
  it.each([
    ['nop', '90'],
    ['push %rbp', '55'],
    ['ret', 'c3'],
    ['jbe rel8', '7649'],
    ['jbe rel32', '0f8654030000'],
    ['call rel32', 'e85b000000'],
    ['cmp 0x10(%r14),%rsp', '493b6610'],
    ['lea -0x28(%rsp),%r12', '4c8d6424d8'],
    ['mov %rdx,%fs:0xfffffff8', '6448891425f8ffffff'],
    ['mov $-8,%rcx', '48c7c1f8ffffff'],
    ['mov $imm64,%rax', '48b80102030405060708'],
    ['mov $imm16,%ax', '66b80102'],
    ['cmpb $0,disp(%rip)', '803d9562410000'],
    ['cmpw $imm16,disp(%rip)', '66813d956241000102'],
    ['mov 0xd0(%rdx),%rdx', '488b92d0000000'],
    ['mov (,%rax,8),%rax', '488b04c500000000'],
    ['test $1,%al (f6 /0)', 'f6c001'],
    ['test $imm32,%eax (f7 /0)', 'f7c001000000'],
    ['neg %rax (f7 /3)', '48f7d8'],
    ['lock cmpxchg %rcx,(%rdx)', 'f0480fb10a'],
    ['pshufb', '660f3800c1'],
    ['palignr $8', '660f3a0fc108'],
    ['pshufd $0', '660f70c000'],
    ['nopl 0(%rax,%rax,1)', '0f1f440000'],
    ['movabs addr,%al', 'a00102030405060708'],
    ['enter', 'c8010002'],
    ['vpxor (VEX2)', 'c5f9efc0'],
    ['vzeroupper', 'c5f877'],
    ['vpalignr (VEX3, map 3)', 'c4e3750fc208'],
    ['vmovdqu64 (EVEX)', '62f1fe486f06'],
  ])('%s', (_, hex) => {
    const code = Buffer.from(hex, 'hex');
    expect(instructionLength(Buffer.concat([code, Buffer.alloc(16)]), 0)).toBe(code.length);
    expect(instructionLength(code.subarray(0, -1), 0)).toBe(0);
  });

  it.each(['06', '9a', 'd4', '4848', '66'.repeat(15), ''])('refuses %s', (hex) => {
    expect(instructionLength(Buffer.from(hex, 'hex'), 0)).toBe(0);
  });
});

describe('stackCheckBranch', () => {
  it('is the jbe behind the comparison with the stack limit', () => {
    expect(stackCheckBranch(fn('493b6610 7601 90 c3'))).toBe(4);
    expect(stackCheckBranch(fn('4c8d6424d8 4d3b6610 0f8601000000 90 c3'))).toBe(9);
    // mov %rsp,%r12; sub $0x1000,%r12; jb; cmp; jbe
    expect(stackCheckBranch(fn('4989e4 4981ec00100000 7207 4d3b6610 7601 90 c3'))).toBe(16);
  });

  it('is nothing else', () => {
    expect(stackCheckBranch(fn('4883f810 7601 90 c3'))).toBeUndefined(); // another comparison
    expect(stackCheckBranch(fn('493b6610 7401 90 c3'))).toBeUndefined(); // je
    expect(stackCheckBranch(fn('493b6610 767f 90 c3'))).toBeUndefined(); // out of the function
    expect(stackCheckBranch(fn('90 90 90 90 90 90 493b6610 7601 90 c3'))).toBeUndefined(); // too late
    expect(stackCheckBranch(fn('493b6610'))).toBeUndefined();
    expect(stackCheckBranch(fn('c3'))).toBeUndefined();
  });
});

describe('emulatedAfter', () => {
  const CALL = 'e800000000';
  it.each([
    ['a nop behind loads of other registers', '498b5630 488b92d0000000 90', 11],
    ['a jump', 'eb0e', 0],
    [
      'je behind what conn.serve does',
      '48898424b8010000 41b800001000 4c0f4fc7 498db800100000 48397e28 743b',
      29,
    ],
    ['je with 32 bits', '4d85c0 0f84b3000000', 3],
    ['behind two-byte padding', '6690 90', 2],
    ['not when %rax is loaded', '488b02 90', undefined],
    ['not when %rax is copied into', '4889f0 90', undefined],
    ['not when %eax gets a constant', 'b801000000 90', undefined],
    ['%r8 gets a constant', '41b801000000 90', 6],
    ['not when %rax is computed', '4883c008 90', undefined],
    ['not behind what is not understood', '0fa2 90', undefined],
    ['not when there is none', '4885ff', undefined],
  ])('%s', (_, hex, at) => {
    expect(emulatedAfter(fn(`90 ${CALL} ${hex}`), 1)).toBe(at === undefined ? undefined : 6 + at);
  });
});

function fn(hex: string): GoFunction {
  const code = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return { name: 'f', vaddr: 0, fileOffset: 0, code, defers: false };
}
