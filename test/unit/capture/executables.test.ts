import { beforeEach, describe, expect, it, vi } from 'vitest';
import { HOOK } from '../../../services/capture/bpf/layout.gen.ts';
import { type Executable, Executables, isRefusal } from '../../../services/capture/executables.ts';
import { GoBinaryError } from '../../../services/capture/go/go-binary-error.ts';
import { isGoHttpServer } from '../../../services/capture/go/is-go-http-server.ts';
import { readGoBinary } from '../../../services/capture/go/read-go-binary.ts';
import { BpfError } from '../../../services/capture/libbpf.ts';
import type { Refusal } from '../../../services/capture/refusal.ts';
import { FakeAttacher, goBinary } from './fake-attacher.ts';

vi.mock('../../../services/capture/go/read-go-binary.ts', () => ({ readGoBinary: vi.fn() }));
vi.mock('../../../services/capture/go/symbolizer.ts', () => ({
  Symbolizer: class {
    close(): void {}
  },
}));
vi.mock('../../../services/capture/go/is-go-http-server.ts', () => ({ isGoHttpServer: vi.fn() }));
const reader = vi.mocked(readGoBinary);

let kernel: FakeAttacher;
let executables: Executables;
beforeEach(() => {
  reader.mockReset();
  reader.mockImplementation(async () => goBinary());
  kernel = new FakeAttacher();
  executables = new Executables(kernel, { allowUnknownGo: false, maxHitsPerSecond: 1_000 });
});

const candidate = (key: string) => ({ path: `/opt/${key}`, readPath: `/proc/1/${key}` });

async function attach(key: string): Promise<Executable> {
  const result = await executables.ensure(key, candidate(key));
  if (isRefusal(result)) throw new Error(result.reason);
  return result;
}

async function refusal(key: string): Promise<Refusal> {
  const result = await executables.ensure(key, candidate(key));
  if (!isRefusal(result)) throw new Error(`${key} was attached`);
  return result;
}

async function scan(times: number, wanted: readonly string[]): Promise<string[]> {
  const gone: Executable[] = [];
  for (let time = 0; time < times; time++) gone.push(...(await executables.retain(new Set(wanted))));
  return gone.map(({ path }) => path);
}

describe('an executable', () => {
  it('is attached once, its offsets first, its sites in their order', async () => {
    expect(await attach('a')).toMatchObject({ path: '/opt/a', index: 0, goVersion: 'go1.19.8' });
    expect(await attach('a')).toMatchObject({ index: 0 });
    expect(reader.mock.calls).toMatchObject([['/proc/1/a', { allowUnknownGo: false }]]);
    expect(kernel.calls).toEqual(['binary 0', 'attach /proc/1/a 30,10,20,40']);
    expect(executables.pathOf(0)).toBe('/opt/a');
  });

  it('tells the kernel by cookie which hook, which executable and whether guarded', async () => {
    await attach('a');
    await attach('b');
    expect(kernel.sitesOf('/proc/1/b').cookies).toEqual([
      BigInt(HOOK.HOOK_GOROUTINE_START | (1 << 8)),
      BigInt(HOOK.HOOK_SERVE_END | (1 << 8)),
      BigInt(HOOK.HOOK_REQUEST_END | (1 << 8)),
      BigInt(HOOK.HOOK_REQUEST_START | (1 << 8) | (1 << 16)),
    ]);
  });

  it('is attached to one process when that alone is asked for', async () => {
    await executables.ensure('a:7', { path: '/opt/a', readPath: '/proc/7/exe', pid: 7 });
    expect(kernel.sitesOf('/proc/7/exe').pid).toBe(7);
    await attach('a');
    expect(kernel.sitesOf('/proc/1/a').pid).toBeUndefined();
  });

  it('is detached after sixty scans without anybody, not before', async () => {
    await attach('a');
    await attach('b');
    expect(await scan(59, ['b'])).toEqual([]);
    expect(await scan(1, ['a', 'b'])).toEqual([]); // wanted again: counts from the start
    expect(await scan(59, ['b'])).toEqual([]);
    expect(await scan(1, ['b'])).toEqual(['/opt/a']);
    expect(kernel.paths).toEqual(['/proc/1/b']);
    expect(executables.has('a')).toBe(false);
    expect(executables.pathOf(0)).toBe('/opt/a'); // events that are still on their way
  });

  it('loses its probes when they are hit too often, and says so; its connections go on to be seen', async () => {
    await attach('a');
    await attach('b');
    const hits = (a: number, b: number) => {
      kernel.hitCounts.set(0, [a / 2, a / 2]);
      kernel.hitCounts.set(1, [0, b]);
    };
    hits(5_000, 5_000);
    expect(await executables.enforceBudget(0)).toEqual([]);
    hits(6_000, 6_001); // within a second: as many as allowed, and one more
    expect((await executables.enforceBudget(1_000)).map(({ path }) => path)).toEqual(['/opt/b']);
    expect(kernel.paths).toEqual(['/proc/1/a']);
    expect(kernel.calls.at(-1)).toBe('binary 1 not instrumented');
    expect(executables.list()[1]!.notes.join()).toContain('1001 times a second');
    hits(6_000, 99_000);
    expect(await executables.enforceBudget(2_000)).toEqual([]);
    expect(await attach('b')).toMatchObject({ index: 1 }); // and not attached again
    expect(await attach('c')).toMatchObject({ index: 2 }); // nor does another get its number
    expect(kernel.paths).toEqual(['/proc/1/a', '/proc/1/c']);
  });

  it('takes the number of one that is gone', async () => {
    for (const key of ['a', 'b', 'c']) await attach(key);
    await scan(60, ['a', 'c']);
    expect(await attach('d')).toMatchObject({ index: 1 });
    expect(await attach('e')).toMatchObject({ index: 3 });
    expect(executables.pathOf(1)).toBe('/opt/d');
  });

  it('is detached at the end', async () => {
    for (const key of ['a', 'b']) await attach(key);
    await executables.close();
    expect([kernel.attached.size, executables.list()]).toEqual([0, []]);
  });
});

describe('an executable that cannot be probed', () => {
  const goError = (reason: 'not_go' | 'not_elf' | 'no_net_http' | 'no_symbols' | 'not_readable') =>
    new GoBinaryError(reason, 'in words');
  it.each([
    ['not a program', goError('not_elf'), 'in words', true],
    ['not Go', goError('not_go'), 'in words', true],
    ['without a server', goError('no_net_http'), 'in words', true],
    ['without symbols', goError('no_symbols'), 'in words', false],
    ['refused by the kernel', new BpfError('attach', 'EINVAL', []), 'attach: EINVAL', false],
    [
      'not ours to read',
      Object.assign(new Error('x'), { code: 'EACCES' }),
      'not readable: run as root or with CAP_SYS_PTRACE',
      false,
    ],
    ['strange', new Error('something else'), 'something else', false],
  ])('says why, and is not read again: %s', async (_, error, reason, notGo) => {
    reader.mockRejectedValue(error);
    expect(await refusal('a')).toEqual({ reason, notGo });
    reader.mockResolvedValue(goBinary());
    expect(await refusal('a')).toEqual({ reason, notGo });
    expect(executables.has('a')).toBe(true);
  });

  it.each([
    [
      'read',
      new GoBinaryError('not_readable', 'gone', { cause: Object.assign(new Error(), { code: 'ENOENT' }) }),
    ],
    ['read', Object.assign(new Error('x'), { code: 'ESRCH' })],
    ['read', Object.assign(new Error('x'), { code: 'EMFILE' })],
    ['attached', new BpfError('attach', 'ENOENT', [])],
  ])('because its process ended before it was %s is tried again with the next process', async (_, error) => {
    reader.mockRejectedValueOnce(error);
    await refusal('a');
    expect(await attach('a')).toMatchObject({ index: 0 });
  });

  it('leaves no trace when attaching fails', async () => {
    kernel.failWith = new BpfError('attach', 'EINVAL', []);
    await refusal('a');
    kernel.failWith = undefined;
    expect(await attach('b')).toMatchObject({ index: 0 });
    expect(executables.list()).toHaveLength(1);
  });

  it('because 256 are probed already has its turn when one of them goes', async () => {
    for (let n = 0; n < 256; n++) await attach(`a${n}`);
    const crowded = { reason: '256 executables are probed already: name fewer targets', notGo: false };
    expect(await refusal('late')).toEqual(crowded);
    expect(await refusal('late')).toEqual(crowded);
    expect(reader).toHaveBeenCalledTimes(257); // not read at every scan
    const others = Array.from({ length: 256 }, (_, n) => `a${n}`).filter((key) => key !== 'a200');
    await scan(60, others);
    expect(await attach('late')).toMatchObject({ index: 200 });
  });

  it('is told by a cheap look when nobody named it', async () => {
    vi.mocked(isGoHttpServer).mockResolvedValueOnce(false).mockResolvedValueOnce(true);
    const wide = (key: string) => executables.ensure(key, { ...candidate(key), wide: true });
    expect(await wide('a')).toEqual({ reason: 'not a Go HTTP server', notGo: true });
    expect(reader).not.toHaveBeenCalled();
    expect(await wide('b')).toMatchObject({ path: '/opt/b', index: 0 });
  });

  it('is forgotten when there are very many of them', async () => {
    reader.mockRejectedValue(goError('not_go'));
    for (let n = 0; n <= 1024; n++) await refusal(`a${n}`);
    expect([executables.has('a0'), executables.has('a1'), executables.has('a1024')]).toEqual([
      false,
      true,
      true,
    ]);
  });
});
