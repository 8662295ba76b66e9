import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Discovery } from '../../../services/capture/discovery.ts';
import { Executables } from '../../../services/capture/executables.ts';
import { GoBinaryError } from '../../../services/capture/go/go-binary-error.ts';
import { isGoHttpServer } from '../../../services/capture/go/is-go-http-server.ts';
import { readGoBinary } from '../../../services/capture/go/read-go-binary.ts';
import { AUTO, parseTarget, type Target } from '../../../services/capture/targets.ts';
import { FakeAttacher, goBinary } from './fake-attacher.ts';

vi.mock('../../../services/capture/go/symbolizer.ts', () => ({
  Symbolizer: class {
    close(): void {}
  },
}));
vi.mock('../../../services/capture/go/read-go-binary.ts', () => ({ readGoBinary: vi.fn() }));
vi.mock('../../../services/capture/go/is-go-http-server.ts', () => ({ isGoHttpServer: vi.fn() }));
vi.mock(import('../../../services/capture/executables.ts'), async (original) => ({
  ...(await original()),
  fileKey: async (path) => host.keyOf(path),
}));

/** A machine: files by path (what is in them), processes by pid (what they run). */
class Host {
  /** Path → contents; those that begin with `go` are Go servers. */
  readonly files = new Map<string, string>();
  readonly processes = new Map<number, { executable: string; contents: string }>();

  run(pid: number, executable: string): void {
    this.processes.set(pid, { executable, contents: this.files.get(executable)! });
  }

  keyOf(path: string): string | undefined {
    const pid = /^\/proc\/(\d+)\/exe$/.exec(path)?.[1];
    return pid === undefined ? this.files.get(path) : this.processes.get(Number(pid))?.contents;
  }
}

let host: Host;
let kernel: FakeAttacher;
let log: string[];

beforeEach(() => {
  host = new Host();
  kernel = new FakeAttacher();
  log = [];
  vi.mocked(isGoHttpServer).mockReset();
  vi.mocked(readGoBinary).mockImplementation(async (path) => {
    const contents = host.keyOf(path);
    if (contents?.startsWith('go')) return goBinary();
    if (contents !== undefined) throw new GoBinaryError('not_go', 'not a Go program');
    throw new GoBinaryError('not_readable', 'gone', {
      cause: Object.assign(new Error(), { code: 'ENOENT' }),
    });
  });
  vi.mocked(isGoHttpServer).mockImplementation(async (path) => host.keyOf(path)?.startsWith('go') ?? false);
});

/** A discovery whose events are lines of `log`. */
function discover(...targets: (string | Target)[]): Discovery {
  const filter = new Set<number>();
  return new Discovery({
    targets: targets.map((target) => (typeof target === 'string' ? parseTarget(target, '/work') : target)),
    executables: new Executables(kernel, { allowUnknownGo: false, maxHitsPerSecond: 1_000 }),
    listProcesses: async () => [...host.processes].map(([pid, { executable }]) => ({ pid, executable })),
    // As the kernel: an entry that is there stays as it is.
    addTarget: (pid, binary) => {
      if (!filter.has(pid)) log.push(`pid ${pid} is ${binary}`);
      filter.add(pid);
    },
    removeTarget: (pid) => {
      if (filter.delete(pid)) log.push(`pid ${pid} is none`);
    },
    onProcesses: () => undefined,
    onAttached: ({ path, index }, target) => log.push(`attached ${path} as ${index} for ${target.text}`),
    onDetached: ({ path }) => log.push(`detached ${path}`),
    onRefused: (target, reason) => log.push(`refused ${target}: ${reason}`),
  });
}

async function scanned(discovery: Discovery, times = 1): Promise<string[]> {
  log = [];
  for (let time = 0; time < times; time++) await discovery.scan();
  return log;
}

describe('discovery', () => {
  it('attaches a path before any process runs it, and then follows its processes', async () => {
    host.files.set('/opt/app', 'go 1');
    const discovery = discover('/opt/app');
    expect(await scanned(discovery)).toEqual(['attached /opt/app as 0 for /opt/app']);
    host.run(7, '/opt/app');
    host.run(8, '/opt/app');
    expect(await scanned(discovery)).toEqual(['pid 7 is 0', 'pid 8 is 0']);
    expect(await scanned(discovery, 3)).toEqual([]);
    expect(kernel.paths).toEqual(['/opt/app']);
  });

  it('finds a file and processes that come later', async () => {
    const discovery = discover('/opt/app', '/srv/**', AUTO);
    expect(await scanned(discovery)).toEqual([expect.stringMatching('refused /opt/app: no such file')]);
    host.files.set('/opt/app', 'go 1').set('/srv/x/y', 'go 2').set('/usr/z', 'go 3');
    expect(await scanned(discovery)).toEqual(['attached /opt/app as 0 for /opt/app']);
    host.run(7, '/srv/x/y');
    host.run(8, '/usr/z');
    expect(await scanned(discovery)).toEqual([
      'attached /srv/x/y as 1 for /srv/**',
      'pid 7 is 1',
      'attached /usr/z as 2 for auto',
      'pid 8 is 2',
    ]);
    expect(discovery.notes).toEqual([]);
  });

  it('attaches a file once, though a pid, a path and a glob name it', async () => {
    host.files.set('/opt/app', 'go 1');
    host.run(7, '/opt/app');
    const discovery = discover('7', '/opt/app', '/opt/*', AUTO);
    expect(await scanned(discovery, 2)).toEqual(['attached /opt/app as 0 for /opt/app', 'pid 7 is 0']);
    expect(kernel.sitesOf('/opt/app').pid).toBeUndefined();
    expect(kernel.attached.size).toBe(1);
  });

  it('attaches a pid alone, and not the other processes of its file', async () => {
    host.files.set('/opt/app', 'go 1');
    for (const pid of [7, 8, 9]) host.run(pid, '/opt/app');
    expect(await scanned(discover('7', '9'))).toEqual([
      'attached /opt/app as 0 for 7',
      'pid 7 is 0',
      'attached /opt/app as 1 for 9',
      'pid 9 is 1',
    ]);
    expect([...kernel.attached].map(({ path, pid }) => [path, pid])).toEqual([
      ['/proc/7/exe', 7],
      ['/proc/9/exe', 9],
    ]);
  });

  it('says that a pid is gone, once, and in its notes as long as it is', async () => {
    host.files.set('/opt/app', 'go 1');
    host.run(7, '/opt/app');
    const discovery = discover('7');
    await scanned(discovery);
    expect(discovery.notes).toEqual([]);
    host.processes.delete(7);
    expect(await scanned(discovery, 3)).toEqual(['pid 7 is none', 'refused 7: no such process']);
    expect(discovery.notes).toEqual(['7: no such process']);
  });

  it('tells a refusal once for each reason', async () => {
    host.files.set('/opt/script', 'text 1');
    const discovery = discover('/opt/script', '/bin/*');
    expect(await scanned(discovery, 3)).toEqual(['refused /opt/script: not a Go program']);
    host.files.delete('/opt/script');
    expect(await scanned(discovery, 2)).toEqual([
      expect.stringContaining('refused /opt/script: no such file'),
    ]);
    host.files.set('/bin/sh', 'text 2');
    host.run(7, '/bin/sh');
    expect(await scanned(discovery, 2)).toEqual(['refused /bin/sh: not a Go program']);
    expect(discovery.notes).toHaveLength(2);
  });

  it('is silent about what auto meets and cannot probe', async () => {
    host.files.set('/bin/sh', 'text');
    host.run(1, '/bin/sh');
    const discovery = discover(AUTO);
    expect([await scanned(discovery, 2), discovery.notes]).toEqual([[], []]);
    expect(vi.mocked(isGoHttpServer)).toHaveBeenCalledTimes(1);
  });

  it('attaches the new file when a deployment replaces one, and keeps the old one while it runs', async () => {
    host.files.set('/opt/app', 'go 1');
    host.run(7, '/opt/app');
    const discovery = discover('/opt/app');
    await scanned(discovery);
    host.files.set('/opt/app', 'go 2');
    host.run(8, '/opt/app');
    expect(await scanned(discovery)).toEqual(['attached /opt/app as 1 for /opt/app', 'pid 8 is 1']);
    expect(await scanned(discovery, 100)).toEqual([]);
    host.processes.delete(7);
    expect(await scanned(discovery, 59)).toEqual(['pid 7 is none']);
    expect(await scanned(discovery)).toEqual(['detached /opt/app']);
    expect(kernel.attached.size).toBe(1);
  });

  it('finds its probes when it restarts, and follows a pid that is used again', async () => {
    host.files.set('/opt/app', 'go 1').set('/bin/sh', 'text');
    host.run(7, '/opt/app');
    const discovery = discover('/opt/*');
    await scanned(discovery);
    host.run(7, '/bin/sh'); // the same process, running something else now
    expect(await scanned(discovery, 30)).toEqual(['pid 7 is none']);
    host.processes.delete(7);
    await scanned(discovery);
    host.run(7, '/opt/app');
    expect(await scanned(discovery)).toEqual(['pid 7 is 0']);
  });

  it('tries a program again whose first process ended while it was looked at', async () => {
    host.files.set('/opt/app', 'go 1');
    host.run(7, '/opt/app');
    vi.mocked(readGoBinary).mockImplementationOnce(async () => {
      throw new GoBinaryError('not_readable', 'gone', {
        cause: Object.assign(new Error(), { code: 'ENOENT' }),
      });
    });
    const discovery = discover('/opt/*');
    await scanned(discovery);
    expect(await scanned(discovery)).toEqual(['attached /opt/app as 0 for /opt/*', 'pid 7 is 0']);
  });
});
