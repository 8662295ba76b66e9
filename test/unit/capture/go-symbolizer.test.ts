// The symbolizer against what the programs' own runtime says.
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf } from '../../../services/capture/go/caller.ts';
import { parseElf } from '../../../services/capture/go/elf.ts';
import { type Frame, isWrapper } from '../../../services/capture/go/frame.ts';
import { stackText } from '../../../services/capture/go/frame-text.ts';
import { findFunctionTables } from '../../../services/capture/go/pclntab.ts';
import { locateSymbols, type SymbolTables } from '../../../services/capture/go/symbol-tables.ts';
import { Symbolizer } from '../../../services/capture/go/symbolizer.ts';
import { findTextStart } from '../../../services/capture/go/text-start.ts';
import { BUILD_TIMEOUT_MS, type GoBuilds, openGoBuilds } from './go-builds.ts';
import { stacksOf, type ToldStacks, writeStackProgram } from './go-symbol-program.ts';

let go: GoBuilds;
let exe: string;

beforeAll(async () => {
  go = await openGoBuilds();
  await writeStackProgram(go);
  exe = await build('plain', []);
}, BUILD_TIMEOUT_MS);
afterAll(() => go.delete());

async function build(name: string, args: readonly string[]): Promise<string> {
  const output = join(go.folder, name);
  await go.run('go', ['build', '-buildvcs=false', '-o', output, ...args, '.']);
  return output;
}

async function tablesOf(path: string): Promise<SymbolTables> {
  const elf = parseElf(await readFile(path));
  for (const table of findFunctionTables(elf)) {
    const start = findTextStart(elf, table);
    if (start !== undefined) return locateSymbols(elf, table, start.vaddr);
  }
  throw new Error(`${path} has no function table`);
}

/** The return addresses that are on the stack: those of inlined calls, which the runtime makes up, are left out. */
function physical(stack: ToldStacks[number], symbolizer: Symbolizer): number[] {
  const offsets: number[] = [];
  for (let i = 0; i < stack.length; i += symbolizer.frames(offsets.at(-1)!).filter(isReal).length || 1)
    offsets.push(stack[i]!.offset);
  return offsets;
}

/** The runtime, too, leaves out wrappers. */
function isReal(frame: Frame): boolean {
  return !isWrapper(frame);
}

async function expectAgreement(path: string): Promise<ToldStacks> {
  const stacks = await stacksOf(go, path);
  expect(stacks.length).toBeGreaterThan(14);
  const symbolizer = new Symbolizer(path, await tablesOf(path));
  try {
    for (const stack of stacks) {
      const theirs = stack.map(({ function: name, file, line }) => ({ function: name, file, line }));
      expect(symbolizer.stack(physical(stack, symbolizer)).filter(isReal)).toEqual(theirs);
    }
    expect(symbolizer.failures).toBe(0);
  } finally {
    symbolizer.close();
  }
  return stacks;
}

describe('every frame is as the program itself says', () => {
  it('in a plain build, with inlined, generic, wrapped and deferred calls', async () => {
    const names = new Set((await expectAgreement(exe)).flat().map((call) => call.function));
    for (const name of [
      'main.inlinedOnce',
      'main.apply[...]',
      'example.org/stacks/deep.er/v2.each',
      'example.org/stacks/deep.er/v2.(*List[...]).Each',
      'main.method.handle',
      'net/http.StripPrefix.func1',
    ])
      expect(names).toContain(name);
  });

  it('in a stripped build', async () => {
    await expectAgreement(await build('stripped', ['-ldflags=-s -w']));
  });

  it(
    'in a position-independent and trimmed build, whose paths begin with the module',
    async () => {
      const stacks = await expectAgreement(
        await build('pie', ['-buildmode=pie', '-trimpath', '-ldflags=-s -w']),
      );
      expect(stacks[0]![0]!.file).toBe('example.org/stacks/main.go');
    },
    BUILD_TIMEOUT_MS,
  );
});

it('tells the line that made a call, and the handler', async () => {
  const symbolizer = new Symbolizer(exe, await tablesOf(exe));
  const told = (await stacksOf(go, exe)).at(-1)!;
  const own = symbolizer.stack(physical(told, symbolizer));
  const handler = told[told.findIndex((call) => call.function === 'net/http.HandlerFunc.ServeHTTP') - 1]!;
  expect(callerOf([own])).toEqual({
    function: 'main.record',
    file: join(go.folder, 'main.go'),
    line: told[0]!.line,
    handler: handler.function,
  });
  expect(stackText([own])).toContain(`\nmain.inlinedTwice\n\t${join(go.folder, 'main.go')}:`);
  symbolizer.close();
});

describe('what cannot be looked up', () => {
  it('is given as the function that the call was inlined into, where the inline trees are missing', async () => {
    const stacks = await stacksOf(go, exe);
    const symbolizer = new Symbolizer(exe, { ...(await tablesOf(exe)), inlineTrees: undefined });
    // record ← inlinedOnce ← inlinedTwice ← main: two of them inlined.
    const [, call] = stacks[1]!;
    expect(call!.function).toBe('main.inlinedOnce');
    const frames = symbolizer.frames(call!.offset);
    expect(frames.map((frame) => frame.function)).toEqual(['main.main']);
    expect(frames[0]!.file).toBe(join(go.folder, 'main.go'));
    symbolizer.close();
  });

  it('gives no frames outside of Go code', async () => {
    const symbolizer = new Symbolizer(exe, await tablesOf(exe));
    for (const offset of [0, 0xffff_ffff]) expect(symbolizer.frames(offset)).toEqual([]);
    symbolizer.close();
  });

  it('refuses a file that has been replaced, and survives one that is cut while open', async () => {
    const tables = await tablesOf(exe);
    const [stack] = await stacksOf(go, exe);
    const other = join(go.folder, 'other');
    await writeFile(other, Buffer.alloc(10_000));
    expect(() => new Symbolizer(other, tables)).toThrow(/truncated|replaced/);
    await copyFile(exe, other);
    const symbolizer = new Symbolizer(other, tables);
    await writeFile(other, '');
    expect(symbolizer.stack(stack!.map(({ offset }) => offset))).toEqual([]);
    expect(symbolizer.failures).toBe(stack!.length);
    symbolizer.close();
  });
});
