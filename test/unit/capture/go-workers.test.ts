// What the machine code says about a goroutine's work against what the source of the program says.
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseElf } from '../../../services/capture/go/elf.ts';
import { findFunctionTables } from '../../../services/capture/go/pclntab.ts';
import { locateSymbols } from '../../../services/capture/go/symbol-tables.ts';
import { Symbolizer } from '../../../services/capture/go/symbolizer.ts';
import { findTextStart } from '../../../services/capture/go/text-start.ts';
import { ALL_DOUBT, type Doubt, Workers } from '../../../services/capture/go/workers.ts';
import { BUILD_TIMEOUT_MS, type GoBuilds, openGoBuilds } from './go-builds.ts';
import { casesOf, ROUNDS, writeWorkersProgram } from './go-workers-program.ts';

let go: GoBuilds;

beforeAll(async () => {
  go = await openGoBuilds();
  await writeWorkersProgram(go);
}, BUILD_TIMEOUT_MS);
afterAll(() => go.delete());

async function build(name: string, args: readonly string[]): Promise<string> {
  const output = join(go.folder, name);
  await go.run('go', ['build', '-buildvcs=false', '-o', output, ...args, '.']);
  return output;
}

async function symbolizerOf(path: string): Promise<Symbolizer> {
  const elf = parseElf(await readFile(path));
  const table = findFunctionTables(elf)[0]!;
  return new Symbolizer(path, locateSymbols(elf, table, findTextStart(elf, table)!.vaddr));
}

function inWords({ fromChannel, inLoop }: Doubt): string {
  if (fromChannel) return 'channel';
  return inLoop ? 'loop' : 'once';
}

/** Of each case, for every stack: those of one case are alike. */
async function verdictsOf(path: string): Promise<Record<string, string[]>> {
  const symbolizer = await symbolizerOf(path);
  const workers = new Workers(symbolizer, 'example.org/receives');
  const verdicts: Record<string, string[]> = {};
  for (const [name, stacks] of Object.entries(await casesOf(go, path)))
    verdicts[name] = [...new Set(stacks.map((stack) => inWords(workers.doubt(stack))))];
  symbolizer.close();
  return verdicts;
}

describe('a goroutine goes round, by way of a channel or not, exactly where the source says so', () => {
  const expected = Object.fromEntries(Object.entries(ROUNDS).map(([name, round]) => [name, [round]]));
  it.each([
    ['plain', []],
    ['not inlined', ['-gcflags=-l']],
    ['stripped and position-independent', ['-buildmode=pie', '-trimpath', '-ldflags=-s -w']],
  ])(
    '%s',
    async (name, args) => {
      expect(await verdictsOf(await build(name, args))).toEqual(expected);
    },
    BUILD_TIMEOUT_MS,
  );
});

describe('what cannot be told from the code', () => {
  let exe: string;
  let stack: number[];
  beforeAll(async () => {
    exe = await build('to-be-cut', []);
    stack = (await casesOf(go, exe))['closure of a worker']![0]!;
  }, BUILD_TIMEOUT_MS);

  it('is taken for received, when the file is cut while it is open', async () => {
    const copy = join(go.folder, 'copy');
    await copyFile(exe, copy);
    const symbolizer = await symbolizerOf(copy);
    const workers = new Workers(symbolizer, 'example.org/receives');
    await writeFile(copy, '');
    expect(workers.doubt(stack)).toEqual(ALL_DOUBT);
    expect(workers.unclear).toBe(1);
    symbolizer.close();
  });

  it('is nothing outside of Go code', async () => {
    const symbolizer = await symbolizerOf(exe);
    const none = { fromChannel: false, inLoop: false };
    expect(new Workers(symbolizer, '').doubt([0, 0xffff_ffff])).toEqual(none);
    expect(new Workers(symbolizer, '').doubt([])).toEqual(none);
    symbolizer.close();
  });
});
