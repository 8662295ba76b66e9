// Where values pass through channels: against the runtime's source lines, and in builds that are not as expected.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHANNEL_FUNCTIONS, planChannelProbes } from '../../../services/capture/go/channel-probes.ts';
import type { GoFunction } from '../../../services/capture/go/program.ts';
import { readGoBinary } from '../../../services/capture/go/read-go-binary.ts';
import { BUILD_TIMEOUT_MS, type GoBuilds, openGoBuilds } from './go-builds.ts';

describe('a server as built by default', () => {
  let go: GoBuilds;
  beforeAll(async () => {
    go = await openGoBuilds();
  }, BUILD_TIMEOUT_MS);
  afterAll(() => go.delete());

  it(
    'has its probes on the calls of the source lines that pass a value on',
    async () => {
      const exe = await go.build('server', []);
      const { channels } = await readGoBinary(exe);
      const places = channels.sites.map(({ functionName, hook, fileOffset }) => [
        functionName,
        hook,
        fileOffset,
      ]);
      expect(places.sort()).toEqual((await placesInSource(exe)).sort());
      expect(channels.reason).toBe('');
    },
    BUILD_TIMEOUT_MS,
  );

  /** What the runtime's source says on the line that the disassembler names for a call. */
  async function placesInSource(exe: string): Promise<[string, string, bigint][]> {
    const root = (await go.run('go', ['env', 'GOROOT'])).trim();
    const source = new Map<string, string[]>();
    for (const file of ['chan.go', 'select.go'])
      source.set(file, (await readFile(join(root, 'src/runtime', file), 'utf8')).split('\n'));
    const text = await go.run('go', ['tool', 'objdump', '-s', String.raw`^runtime\.(chan|select)`, exe]);
    const places: [string, string, bigint][] = [];
    let name = '';
    for (const line of text.split('\n')) {
      name = /^TEXT (\S+)\(SB\)/.exec(line)?.[1] ?? name;
      const [, file = '', number, address] = /^\s+(\S+):(\d+)\s+0x(\w+)\s.*CALL /.exec(line) ?? [];
      const statement = source.get(file)?.[Number(number) - 1]?.trim() ?? '';
      const kind = LINES.find(([start]) => statement.startsWith(start))?.[1];
      const hook = kind && OPERATIONS[name]?.[kind];
      // Executables of Go begin with the code segment, at this address.
      if (hook) places.push([name, hook, BigInt(`0x${address}`) - 0x400000n]);
    }
    return places;
  }
});

const LINES = [
  ['typedmemmove(c.elemtype, qp, ep)', 'put'],
  ['typedmemmove(c.elemtype, chanbuf(c, c.sendx), cas.elem', 'put'],
  ['typedmemclr(c.elemtype, qp)', 'get'],
  ['send(c, sg,', 'send'],
  ['recv(c, sg,', 'receive'],
] as const;
const OPERATIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'runtime.chansend': { put: 'channel_put', send: 'channel_send' },
  'runtime.chanrecv': { get: 'channel_get', receive: 'channel_receive' },
  'runtime.selectgo': {
    put: 'channel_put',
    get: 'select_get',
    send: 'channel_send',
    receive: 'select_receive',
  },
};

describe('all or nothing', () => {
  const USUAL: Readonly<Record<string, readonly string[]>> = {
    'runtime.chansend': ['runtime.typedmemmove', 'runtime.send'],
    'runtime.chanrecv': [
      'runtime.typedmemclr',
      'runtime.typedmemmove',
      'runtime.typedmemclr',
      'runtime.recv',
    ],
    'runtime.selectgo': [
      'runtime.typedmemmove',
      'runtime.send',
      'runtime.typedmemclr',
      'runtime.typedmemmove',
      'runtime.typedmemclr',
      'runtime.recv',
    ],
    'runtime.chansend1': ['runtime.chansend'],
    'runtime.chanrecv1': ['runtime.chanrecv'],
    'runtime.chanrecv2': ['runtime.chanrecv'],
  };

  it('takes the usual build, where select puts before it gets or after', () => {
    const usual = planned(USUAL);
    expect(usual).toMatchObject({ reason: '' });
    expect(usual.sites.map(({ hook }) => hook)).toEqual([
      'channel_put',
      'channel_send',
      'channel_get',
      'channel_receive',
      'channel_put',
      'select_get',
      'channel_send',
      'select_receive',
    ]);
    const turned = [
      'runtime.typedmemmove',
      'runtime.typedmemclr',
      'runtime.recv',
      'runtime.typedmemmove',
      'runtime.send',
    ];
    expect(planned({ ...USUAL, 'runtime.selectgo': turned })).toMatchObject({ reason: '' });
  });

  it.each([
    [
      'recv inlined',
      { 'runtime.chanrecv': ['runtime.typedmemmove', 'runtime.typedmemclr'] },
      'chanrecv has 0',
    ],
    ['a copy inlined', { 'runtime.chansend': ['runtime.send'] }, 'chansend has 0'],
    [
      'a path of the code doubled',
      { 'runtime.chansend': ['runtime.typedmemmove', 'runtime.typedmemmove', 'runtime.send'] },
      'chansend has 2',
    ],
    ['a whole operation inlined', { 'runtime.chanrecv2': [] }, 'chanrecv2 does not call runtime.chanrecv'],
    ['an operation gone', { 'runtime.selectgo': undefined }, 'selectgo is not in the executable'],
  ])('refuses %s, and says where', (_, change, reason) => {
    const { sites, reason: said } = planned({ ...USUAL, ...change });
    expect(sites).toEqual([]);
    expect(said).toContain(reason);
  });
});

const LEAVES = new Set(['runtime.send', 'runtime.recv', 'runtime.typedmemmove', 'runtime.typedmemclr']);

/** Functions that call others and do nothing else. */
function planned(callees: Readonly<Record<string, readonly string[] | undefined>>) {
  const functions = new Map<string, GoFunction[]>();
  const vaddrOf = (name: string) => 0x1000 * (1 + CHANNEL_FUNCTIONS.indexOf(name));
  for (const name of CHANNEL_FUNCTIONS) {
    const calls = name in callees ? callees[name] : LEAVES.has(name) ? [] : undefined;
    if (calls === undefined) continue;
    const vaddr = vaddrOf(name);
    const code = Buffer.alloc(5 * calls.length + 1, 0xc3);
    for (const [i, callee] of calls.entries()) {
      code[5 * i] = 0xe8;
      code.writeInt32LE(vaddrOf(callee) - (vaddr + 5 * i + 5), 5 * i + 1);
    }
    functions.set(name, [{ name, vaddr, fileOffset: vaddr, code, defers: false }]);
  }
  return planChannelProbes(functions);
}
