// Which executables get the channel hooks, and what is said of those that cannot have them.
import { beforeEach, expect, it, vi } from 'vitest';
import { HOOK } from '../../../services/capture/bpf/layout.gen.ts';
import { Discovery } from '../../../services/capture/discovery.ts';
import { Executables } from '../../../services/capture/executables.ts';
import { readGoBinary } from '../../../services/capture/go/read-go-binary.ts';
import { parseTarget } from '../../../services/capture/targets.ts';
import { FakeAttacher, goBinary } from './fake-attacher.ts';

vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof import('node:fs/promises')>()),
  stat: async (path: string) => ({ ino: path.replace('/proc/9/exe', '/srv/x'), size: 1, mtimeMs: 1 }),
}));
vi.mock('../../../services/capture/go/read-go-binary.ts', () => ({ readGoBinary: vi.fn() }));
vi.mock('../../../services/capture/go/symbolizer.ts', () => ({ Symbolizer: class {} }));

const PUT = { hook: 'channel_put', functionName: 'f', fileOffset: 50n, guarded: false } as const;
let kernel: FakeAttacher;
let executables: Executables;
beforeEach(() => {
  kernel = new FakeAttacher();
  executables = new Executables(kernel, { allowUnknownGo: false, maxHitsPerSecond: 1_000 });
  vi.mocked(readGoBinary).mockImplementation(async () => ({
    ...goBinary(),
    fallbacks: [],
    channels: { sites: [PUT], reason: '' },
  }));
});

/** Offsets attached in the executables of processes 7, 8 and 9: /opt/app, /opt/other, /srv/x. */
async function attached(...channels: string[]): Promise<Record<string, string>> {
  const discovery = new Discovery({
    targets: ['/opt/*', '/srv/x'].map((text) => parseTarget(text, '/')),
    channels: channels.map((text) => parseTarget(text, '/')),
    executables,
    listProcesses: async () => [
      { pid: 7, executable: '/opt/app' },
      { pid: 8, executable: '/opt/other' },
      { pid: 9, executable: '/srv/x' },
    ],
    addTarget: () => undefined,
    removeTarget: () => undefined,
    onProcesses: () => undefined,
    onAttached: () => undefined,
    onDetached: () => undefined,
    onRefused: () => undefined,
  });
  await discovery.scan();
  return Object.fromEntries([...kernel.attached].map(({ path, offsets }) => [path, offsets.join()]));
}

it.each([
  ['nowhere unless asked', [], []],
  ['by path, before a process runs it', ['/srv/x'], ['/srv/x']],
  ['by glob', ['/opt/a*'], ['/proc/7/exe']],
  ['by pid', ['8'], ['/proc/8/exe']],
])('the hooks attach %s, before those that follow a request', async (_, patterns, with_) => {
  const offsets = await attached(...patterns);
  expect(Object.keys(offsets).sort()).toEqual(['/proc/7/exe', '/proc/8/exe', '/srv/x']);
  for (const [path, text] of Object.entries(offsets))
    expect(text, path).toBe((with_ as string[]).includes(path) ? '50,30,10,20,40' : '30,10,20,40');
});

it('the kernel is told which hook it is', async () => {
  await executables.ensure('a', { path: '/a', readPath: '/a', channels: true });
  expect(Number(kernel.sitesOf('/a').cookies[0])).toBe(HOOK.HOOK_CHANNEL_PUT);
});

it('an executable whose channels cannot be followed is probed without, and says so where that was asked for', async () => {
  const reason = 'runtime.chanrecv has 0 places that call runtime.recv, not 1';
  const channels = { sites: [], reason };
  vi.mocked(readGoBinary).mockResolvedValue({ ...goBinary(), fallbacks: [], channels });
  await executables.ensure('a', { path: '/a', readPath: '/a', channels: true });
  await executables.ensure('b', { path: '/b', readPath: '/b' });
  expect(executables.list().map(({ notes }) => notes)).toEqual([
    [`jobs are not followed through channels: ${reason}`],
    [],
  ]);
  expect(kernel.sitesOf('/a').offsets).toEqual([30n, 10n, 20n, 40n]);
});
