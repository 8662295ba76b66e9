// From the return addresses of a call stack to functions, files and lines, as Go's runtime.CallersFrames gives them,
// inlined calls included. Keeps the executable open, not in memory. Reference: pcvalue, funcline1 and inlineUnwinder
// in package runtime.
import type { Frame } from './frame.ts';
import { GoBinaryError } from './go-binary-error.ts';
import { SymbolFile } from './symbol-file.ts';
import { FUNCDATA_INL_TREE, NO_FUNCDATA, type SymbolTables } from './symbol-tables.ts';

const PCDATA_INL_TREE_INDEX = 2;
const MAX_FRAMES_CACHED = 4096;
/** Those of generic functions have their type arguments inside, to any depth. */
const MAX_NAME_BYTES = 64 << 10;
/** The compiler's budget ends long before. */
const MAX_INLINED = 64;
/** Steps through pc-value tables for one address: a damaged file must not hold up the rest for longer than 0.1 s. */
const MAX_STEPS = 1 << 21;

/** One that is not inlined, in the terms of stacks: from the start of the executable segment. */
export interface CompiledFunction {
  readonly name: string;
  readonly start: number;
  readonly size: number;
}

interface Func {
  /** From the first Go function. */
  readonly entry: number;
  readonly size: number;
  readonly record: number;
}

interface InlinedCall {
  readonly name: string;
  readonly parentPc: number;
}

export class Symbolizer {
  /** Addresses that could not be looked up because the file is damaged or unreadable. */
  failures = 0;
  private readonly tables: SymbolTables;
  private readonly file: SymbolFile;
  private stepsLeft = 0;
  private readonly cache = new Map<number, readonly Frame[]>();

  /**
   * `path` is read until close(); /proc/<pid>/exe works across mount namespaces and after the file was unlinked.
   * Throws as fs does, and GoBinaryError when it is not the file that `tables` were located in.
   */
  constructor(path: string, tables: SymbolTables) {
    this.tables = tables;
    this.file = new SymbolFile(path);
    try {
      if (this.file.slice(tables.header, tables.headerBytes.length).equals(tables.headerBytes)) return;
      throw new GoBinaryError('not_readable', 'the file has been replaced since it was read; attach again');
    } catch (error) {
      this.file.close();
      throw error;
    }
  }

  /** Frames of a whole stack: return addresses from the start of the executable segment, innermost first. */
  stack(offsets: Iterable<number>): Frame[] {
    const frames: Frame[] = [];
    for (const offset of offsets) frames.push(...this.frames(offset));
    return frames;
  }

  /** The call that returns to `offset`: what it was inlined into comes after it. Empty: no Go function there. */
  frames(offset: number): readonly Frame[] {
    const known = this.cache.get(offset);
    if (known !== undefined) return known;
    let frames: readonly Frame[] = [];
    this.stepsLeft = MAX_STEPS;
    try {
      frames = this.lookUp(offset - 1 - this.tables.textOffset);
    } catch {
      // One address that cannot be read is not the end of the others.
      this.failures++;
    }
    if (this.cache.size >= MAX_FRAMES_CACHED) this.cache.delete(this.cache.keys().next().value!);
    this.cache.set(offset, frames);
    return frames;
  }

  /** The function with the instruction at `offset`. Throws GoBinaryError when the file is damaged. */
  functionAt(offset: number): CompiledFunction | undefined {
    const { textOffset } = this.tables;
    const fn = this.find(offset - textOffset);
    if (fn === undefined) return undefined;
    return { name: this.name(this.file.u32(fn.record + 4)), start: fn.entry + textOffset, size: fn.size };
  }

  /** Machine code as it is in the file. Throws as fs does, and GoBinaryError when the file ends before. */
  code({ start, size }: CompiledFunction): Buffer {
    return this.file.slice(this.tables.executable + start, size);
  }

  close(): void {
    this.cache.clear();
    this.file.close();
  }

  private lookUp(pc: number): Frame[] {
    const fn = this.find(pc);
    if (fn === undefined) return [];
    const name = this.name(this.file.u32(fn.record + 4));
    const frames: Frame[] = [];
    for (let at = pc - fn.entry; frames.length < MAX_INLINED; ) {
      const index = this.inlineIndex(fn, at);
      if (index < 0) return [...frames, this.frame(fn, name, at)];
      const call = this.inlinedCall(fn, index);
      if (call === undefined) break;
      frames.push(this.frame(fn, call.name, at));
      at = call.parentPc;
    }
    // File and line at `pc` are those of the inlined function, which we cannot name: give the beginning of this one.
    return [this.frame(fn, name, 0)];
  }

  private find(pc: number): Func | undefined {
    const { functions, count } = this.tables;
    const entryOf = (i: number) => this.file.u32(functions + 8 * i);
    if (!(pc >= entryOf(0) && pc < entryOf(count))) return undefined;
    let low = 0;
    for (let high = count; high - low > 1; ) {
      const middle = (low + high) >>> 1;
      if (entryOf(middle) <= pc) low = middle;
      else high = middle;
    }
    const entry = entryOf(low);
    const record = functions + this.file.u32(functions + 8 * low + 4);
    return { entry, size: entryOf(low + 1) - entry, record };
  }

  private frame({ record }: Func, name: string, at: number): Frame {
    const { unitFiles, fileNames } = this.tables;
    const fileIndex = this.valueAt(this.file.u32(record + 20), at);
    const line = this.valueAt(this.file.u32(record + 24), at);
    if (fileIndex < 0 || line < 0) return { function: name, file: '', line: 0 };
    const fileName = this.file.u32(unitFiles + 4 * (this.file.u32(record + 32) + fileIndex));
    const file = fileName === 0xffff_ffff ? '' : this.file.text(fileNames + fileName, MAX_NAME_BYTES);
    return { function: name, file, line };
  }

  private inlineIndex({ record }: Func, at: number): number {
    if (this.file.u32(record + 28) <= PCDATA_INL_TREE_INDEX) return -1;
    const { functionRecordBytes } = this.tables.layout;
    return this.valueAt(this.file.u32(record + functionRecordBytes + 4 * PCDATA_INL_TREE_INDEX), at);
  }

  /** Undefined: there is no such entry, or what stands there cannot be one. */
  private inlinedCall({ record, size }: Func, index: number): InlinedCall | undefined {
    const { inlineTrees, layout, names, namesEnd } = this.tables;
    if (inlineTrees === undefined) return undefined;
    if (this.file.u8(record + layout.funcdataCount) <= FUNCDATA_INL_TREE) return undefined;
    const funcdata = record + layout.functionRecordBytes + 4 * this.file.u32(record + 28);
    const tree = this.file.u32(funcdata + 4 * FUNCDATA_INL_TREE);
    if (tree === NO_FUNCDATA) return undefined;
    const at = inlineTrees + tree + index * layout.inlinedCallBytes;
    const name = this.file.u32(at + layout.inlinedName);
    const parentPc = this.file.u32(at + layout.inlinedParentPc);
    if (parentPc >= size || names + name >= namesEnd) return undefined;
    if (name > 0 && this.file.u8(names + name - 1) !== 0) return undefined;
    return { name: this.name(name), parentPc };
  }

  /** Names as Go prints them: since Go 1.21 the table has the type arguments of generic functions. */
  private name(offset: number): string {
    const name = this.file.text(this.tables.names + offset, MAX_NAME_BYTES);
    const open = name.indexOf('[');
    const close = name.lastIndexOf(']');
    return open < 0 || close <= open ? name : `${name.slice(0, open)}[...]${name.slice(close + 1)}`;
  }

  /** Value of a pc-value table at a distance from the function's entry, or -1. */
  private valueAt(table: number, distance: number): number {
    if (table === 0) return -1;
    let at = this.tables.pcTables + table;
    const varint = (): number => {
      let value = 0;
      for (let shift = 0; shift < 35; shift += 7) {
        const byte = this.file.u8(at++);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      return value >>> 0;
    };
    let value = -1;
    let end = 0;
    for (let first = true; ; first = false) {
      if (this.stepsLeft-- === 0) throw new GoBinaryError('not_elf', `pc-value table ${table} has no end`);
      const delta = varint();
      if (delta === 0 && !first) return -1;
      value = (value + (-(delta & 1) ^ (delta >>> 1))) | 0;
      end += varint();
      if (distance < end) return value;
    }
  }
}
