// `up` with stand-ins for the services: what it starts, prints, survives and leaves behind. The real ones: test/e2e.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import picocolors from 'picocolors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findNatsServer } from '../../../services/cli/installation.ts';
import { LineOutput } from '../../../services/cli/line-output.ts';
import { sayOn } from '../../../services/cli/terminal.ts';
import { type UpOptions, up } from '../../../services/cli/up.ts';
import { readUpRecord } from '../../../services/cli/up-record.ts';
import { eventually, runCommand } from './command-line.ts';

interface RunningUp {
  readonly text: { stdout: string; stderr: string };
  readonly stop: AbortController;
  readonly kill: AbortController;
  readonly stdout: PassThrough;
  readonly code: Promise<number>;
}
type Behaviour = { notes?: string[]; fail?: number };

let dataDir: string;
let behaviour: Record<string, Behaviour>;
const running: RunningUp[] = [];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'flowtag-up-'));
  behaviour = {};
});
afterEach(async () => {
  // A test that failed has not stopped what it started.
  for (const { stop, kill, code } of running.splice(0)) {
    stop.abort();
    kill.abort();
    await code.catch(() => undefined);
  }
  rmSync(dataDir, { recursive: true, force: true });
});

const ROLE = join(import.meta.dirname, 'fake-role.ts');
const programs = {
  natsServer: findNatsServer,
  verb: (name: string, args: readonly string[]) => ({
    file: process.execPath,
    args: ['--import', 'tsx', ROLE, name, JSON.stringify(behaviour[name] ?? {}), ...args],
  }),
};

function startUp(change: Partial<UpOptions> = {}): RunningUp {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const text = { stdout: '', stderr: '' };
  stdout.on('data', (chunk) => {
    text.stdout += chunk;
  });
  stderr.on('data', (chunk) => {
    text.stderr += chunk;
  });
  const [stop, kill] = [new AbortController(), new AbortController()];
  const say = sayOn({ stdout, stderr });
  const context = {
    out: new LineOutput(stdout, say),
    say,
    paint: picocolors.createColors(false),
    untilInterrupted: () => ({ stop: stop.signal, kill: kill.signal }),
    dataDir,
    server: undefined,
    access: {},
  };
  const options: UpOptions = { target: [], output: 'compact', ...change };
  const run = { text, stop, kill, stdout, code: up(options, context, programs) };
  running.push(run);
  return run;
}

/** Processes that were started with this data directory. */
function leftOvers(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.includes(dataDir) ? [`${pid} ${command}`] : [];
      } catch {
        return []; // gone meanwhile
      }
    });
}

describe('up', () => {
  it('starts everything, prints flows, and stops without leaving anything', async () => {
    behaviour = { capture: { notes: ['/bin/x: not a Go program'] } };
    const run = startUp({
      target: ['/bin/server', '--odd'],
      auto: true,
      channels: ['/bin/server'],
      output: 'json',
    });
    await eventually('flows', () => run.text.stdout.split('\n').length > 3, 20_000);
    await eventually('hints', () => run.text.stderr.includes('Ctrl-C stops everything'), 20_000);
    expect(run.text.stderr).toMatch(/ready after \d+\.\d s/);
    expect(run.text.stderr).toContain('capture: /bin/x: not a Go program');
    expect(run.text.stderr).toMatch(/npx flowtag lookup (10\.0\.0\.7:40522|<address:port>) --data-dir/);
    // What each was started with, seen in a warning that `up` shows.
    expect(run.text.stderr).toMatch(
      /capture: warn: flags flags=.*"--target=\/bin\/server","--target=--odd","--auto","--channels=\/bin\/server"/,
    );
    expect(run.text.stderr).toMatch(
      /sink: warn: flags flags=\["--server=nats:\/\/127\.0\.0\.1:\d+","--creds=","--tls-ca=","--ops-listen=off","--data-dir=/,
    );
    expect(readUpRecord(dataDir)).toMatchObject({ pid: process.pid });

    run.stop.abort();
    expect(await run.code).toBe(0);
    for (const line of run.text.stdout.trim().split('\n'))
      expect(JSON.parse(line)['host.name']).toBe('node-a');
    expect(existsSync(join(dataDir, 'up.json'))).toBe(false);
    expect(leftOvers()).toEqual([]);
    expect(readdirSync(join(dataDir, 'log')).sort()).toEqual([
      'capture.log',
      'correlator.log',
      'nats.log',
      'sink.log',
    ]);
    // Feeders first: nobody saw its bus go away.
    expect(run.text.stderr).not.toMatch(/lost|killed/);
  });

  it('stops by itself after --duration', async () => {
    const run = startUp({ auto: true, duration: 500 });
    expect(await run.code).toBe(0);
    expect(run.text.stdout).toContain('GET /v1/orders/42');
    expect(leftOvers()).toEqual([]);
  });

  it('starts again what is killed, the bus included', async () => {
    const run = startUp({ auto: true });
    await eventually('hints', () => run.text.stderr.includes('Ctrl-C stops everything'), 20_000);
    for (const what of ['fake-role.ts\0capture', 'nats-server']) {
      const victim = leftOvers().find((command) => command.includes(what))!;
      process.kill(Number.parseInt(victim, 10), 'SIGKILL');
    }
    await eventually('messages', () =>
      /capture ended \(SIGKILL\); starting it again in 0\.5 s/.test(run.text.stderr),
    );
    expect(run.text.stderr).toMatch(/nats ended \(SIGKILL\); starting it again/);
    const before = run.text.stdout.length;
    await eventually('flows again', () => run.text.stdout.length > before + 500, 20_000);
    run.stop.abort();
    expect(await run.code).toBe(0);
    expect(leftOvers()).toEqual([]);
  });

  it('stops with the code of a service that cannot run here, and shows what it said', async () => {
    behaviour = { capture: { fail: 3 } };
    const run = startUp({ auto: true });
    expect(await run.code).toBe(3);
    expect(run.text.stderr).toMatch(
      /capture ended \(exit code 3\); its log: .*capture\.log\n {2}BTF is missing:\n {4}build a kernel/,
    );
    expect(leftOvers()).toEqual([]);
    expect(existsSync(join(dataDir, 'up.json'))).toBe(false);
  });

  it('refuses a second one on the same data directory', async () => {
    const run = startUp({ auto: true });
    await eventually('record', () => existsSync(join(dataDir, 'up.json')));
    const second = await runCommand('up', '--auto', '--data-dir', dataDir);
    expect([second.code, second.stdout]).toEqual([1, '']);
    expect(second.stderr).toContain(`flowtag up runs already (pid ${process.pid}) on ${dataDir}`);
    run.stop.abort();
    expect(await run.code).toBe(0);
    expect(leftOvers()).toEqual([]);
  });

  it('ends in order when nobody reads its output any more', async () => {
    const run = startUp({ auto: true });
    await eventually('flows', () => run.text.stdout !== '', 20_000);
    run.stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    expect(await run.code).toBe(0);
    expect(leftOvers()).toEqual([]);
  });

  it('stops while it is still starting', async () => {
    const run = startUp({ auto: true });
    run.stop.abort();
    expect(await run.code).toBe(0);
    expect(leftOvers()).toEqual([]);
  });

  it('kills everything at the second interrupt', async () => {
    const run = startUp({ auto: true });
    await eventually('flows', () => run.text.stdout !== '', 20_000);
    run.stop.abort();
    run.kill.abort();
    expect(await run.code).toBe(1);
    expect(leftOvers()).toEqual([]);
  });

  it('explains a data directory that cannot be', async () => {
    const { code, stderr } = await runCommand('up', '--auto', '--data-dir', '/proc/nowhere');
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot create \/proc\/nowhere\/log: ENOENT.*another --data-dir/);
  });
});
