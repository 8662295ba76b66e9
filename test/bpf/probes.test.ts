// Real probes on real Go programs on this kernel. Truth: the client's own socket and the downstream's log.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FLAG, VIA } from '../../schemas/events.ts';
import { storedPath } from '../../schemas/request-path.ts';
import { Capture } from '../support/capture.ts';
import {
  type Downstream,
  type Running,
  startCases,
  startDemo,
  startDownstream,
  targetPath,
} from '../support/targets.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
let downstream: Downstream;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'flowtag-probes-'));
  downstream = await startDownstream();
});

afterAll(async () => {
  await downstream.stop();
  rmSync(directory, { recursive: true });
});

/** Sends one request; answers with the client's own end of the connection. */
function get(server: Running, path: string, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(`http://${server.listen}${path}`, { headers, agent: false }, (response) => {
      const { localAddress, localPort } = response.socket;
      response.resume().on('end', () => resolve(`${localAddress}:${localPort}`));
    });
    call.on('error', reject).end();
  });
}

async function truth(path: string): Promise<string[]> {
  return (await downstream.requests()).filter((r) => r.requestPath === path).map((r) => r.peer);
}

describe.each([
  ['uprobe_multi link', 'multi', []],
  ['perf events', 'perf', []],
  ['stripped', 'auto', ['-ldflags=-s -w']],
  ['position-independent', 'auto', ['-buildmode=pie']],
] as const)('%s', (name, uprobes, flags) => {
  test('one known request gives one known start, connection and end', async () => {
    const program = build(name, flags);
    const demo = await startDemo(downstream, program);
    const capture = await Capture.open({ uprobes, captureQuery: true });
    try {
      await capture.attach(program);
      const path = `/echo/${encodeURIComponent(name)}`;
      const client = await get(demo, `${path}?text=hi`, { traceparent: TRACEPARENT, host: 'shop.example' });
      await capture.until(() => capture.ends.length > 0 && capture.connects.length > 0);
      expect(capture.starts).toHaveLength(1);
      const [start] = capture.starts;
      expect(start).toMatchObject({
        method: 'GET',
        path: `/echo/${name}`,
        query: 'text=hi',
        host: 'shop.example',
        client,
      });
      expect(start).toMatchObject({ pid: demo.pid, traceId: TRACEPARENT.split('-')[1], flags: 0 });
      expect(capture.ends).toEqual([{ id: start!.id, status: 200 }]);
      expect(capture.connects).toHaveLength(1);
      const [connection] = capture.connects;
      expect([connection!.local]).toEqual(await truth(`${path}?text=hi`));
      expect(connection).toMatchObject({
        requestId: start!.id,
        peer: downstream.listen,
        pid: demo.pid,
        family: 4,
      });
      expect(connection).toMatchObject({ via: VIA.dial, netns: statSync('/proc/self/ns/net').ino });
      const skewMs = Math.abs(Number(start!.timeNs / 1_000_000n) - Date.now());
      expect(skewMs).toBeLessThan(5_000);
    } finally {
      await capture.close();
      await demo.stop();
    }
  });
});

describe('on the demo', () => {
  let demo: Running;
  let capture: Capture;

  beforeAll(async () => {
    demo = await startDemo(downstream);
    capture = await Capture.open();
    await capture.attach(targetPath('demo'), demo.pid);
  });

  afterAll(async () => {
    await capture.close();
    await demo.stop();
  });

  const startOf = (path: string) => capture.starts.find((start) => start.path === path);
  const connectOf = (path: string) =>
    capture.connects.find(({ requestId }) => requestId === (startOf(path)?.id ?? Number.NaN));

  test('lineage holds through nested goroutines, and counts them', async () => {
    await get(demo, '/nested/deep');
    await capture.until(() => connectOf('/nested/deep') !== undefined);
    expect(connectOf('/nested/deep')).toMatchObject({ via: VIA.dial, depth: 4 });
    expect([connectOf('/nested/deep')!.local]).toEqual(await truth('/nested/deep'));
  });

  test('IPv6', async (context) => {
    if (!readFileSync('/proc/net/if_inet6', 'latin1').includes('lo')) context.skip('this host has no IPv6');
    await get(demo, '/v6/six');
    await capture.until(() => connectOf('/v6/six') !== undefined);
    expect(connectOf('/v6/six')).toMatchObject({
      family: 6,
      peer: downstream.listen.replace('127.0.0.1', '[::1]'),
    });
    expect([connectOf('/v6/six')!.local]).toEqual(await truth('/v6/six'));
  });

  test('the query stays out unless asked for; a long path is cut and marked', async () => {
    const long = `/health/${'a'.repeat(400)}`;
    await get(demo, `${long}?secret=1`);
    await capture.until(() => capture.ends.some(({ id }) => id === startOf(storedPath(long))?.id));
    expect(startOf(storedPath(long))).toMatchObject({ query: '', flags: FLAG.pathTruncated });
  });

  test('processes that are not targets are not seen', async () => {
    const before = capture.connects.length;
    const [address, port] = downstream.listen.split(':');
    const socket = connect(Number(port), address);
    await once(socket, 'connect');
    socket.destroy();
    const other = await startDemo(downstream); // same executable: the target is one pid
    await get(other, '/echo/other');
    await get(demo, '/health/after');
    await capture.until(() => startOf('/health/after') !== undefined);
    expect(startOf('/echo/other')).toBeUndefined();
    expect(capture.connects).toHaveLength(before);
    await other.stop();
  });
});

test('a ring that is too small loses events and counts every one of them', async () => {
  const demo = await startDemo(downstream);
  const capture = await Capture.open({ ringBytes: 4096, held: true });
  try {
    await capture.attach(targetPath('demo'));
    for (let i = 0; i < 40; i++) await get(demo, `/echo/tiny-${i}`);
    capture.read();
    await capture.until(() => capture.starts.length > 0);
    const { captured, dropped } = capture.ledger();
    expect(captured).toEqual({ request_start: 40, request_end: 40, socket: 80 }); // it opens and it closes
    expect(dropped['ring_full.request_start']).toBeGreaterThan(0);
    expect(capture.starts.length + dropped['ring_full.request_start']!).toBe(40);
    expect(capture.ends.length + (dropped['ring_full.request_end'] ?? 0)).toBe(40);
    const sockets = capture.connects.length + capture.closes.length;
    expect(sockets + (dropped['ring_full.socket'] ?? 0)).toBe(80);
  } finally {
    await capture.close();
    await demo.stop();
  }
});

test('when the map of contexts is full, connections say so; a killed process gives its room back', async () => {
  const capture = await Capture.open({ maxContexts: 16 });
  try {
    const demo = await startDemo(downstream);
    await capture.attach(targetPath('demo'));
    const slow = Array.from({ length: 40 }, (_, i) => get(demo, `/work/full-${i}?sleepMs=300`));
    await Promise.all(slow);
    await capture.until(() => capture.connects.length === 40);
    const without = capture.connects.filter(({ requestId }) => requestId === 0);
    expect(without.length).toBeGreaterThan(0);
    expect(without.every(({ flags }) => flags === FLAG.mapFull)).toBe(true);

    const hanging = Array.from({ length: 20 }, () =>
      get(demo, '/work/hang?sleepMs=5000').catch(() => undefined),
    );
    await capture.until(() => capture.starts.filter(({ path }) => path === '/work/hang').length === 20);
    process.kill(demo.pid, 'SIGKILL');
    await Promise.all(hanging);
    const next = await startDemo(downstream);
    await get(next, '/echo/room-again');
    await capture.until(() => capture.connects.some(({ pid }) => pid === next.pid));
    expect(capture.connects.find(({ pid }) => pid === next.pid)).toMatchObject({
      via: VIA.dial,
      flags: 0,
    });
    await next.stop();
  } finally {
    await capture.close();
  }
});

test('a process that executes itself anew takes nothing over from the requests it had', async () => {
  const demo = await startDemo(downstream);
  const capture = await Capture.open();
  try {
    const { index } = await capture.attach(targetPath('demo'));
    const cut = Array.from({ length: 200 }, () => get(demo, '/work/old?sleepMs=5000').catch(() => undefined));
    await capture.until(() => capture.starts.length === 200);
    cut.push(get(demo, '/exec').catch(() => undefined));
    await Promise.all(cut);
    capture.probes.addTarget(demo.pid, index); // as discovery does at its next look
    await capture.until(() => capture.connects.length > 0);
    await expect.poll(async () => (await truth('/nobody')).length, { timeout: 10_000 }).toBe(300);
    expect(capture.connects.filter(({ requestId }) => requestId !== 0)).toEqual([]);
  } finally {
    await capture.close();
    await demo.stop();
  }
});

test('after closing, nothing is attached and the server answers as before', async () => {
  const demo = await startDemo(downstream);
  const capture = await Capture.open();
  await capture.attach(targetPath('demo'));
  await get(demo, '/health/probed');
  await capture.close();
  await get(demo, '/health/free');
  expect(capture.starts.map(({ path }) => path)).toEqual(['/health/probed']);
  const links = readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes('bpf_link');
    } catch {
      return false; // closed meanwhile
    }
  });
  expect(links).toEqual([]);
  await demo.stop();
});

/** A build of the demo with its own inode, so that no other test's probes are on it. */
function build(name: string, flags: readonly string[]): string {
  const program = join(directory, name.replaceAll(' ', '-'));
  if (flags.length === 0) copyFileSync(targetPath('demo'), program);
  else
    execFileSync('go', ['build', '-trimpath', '-buildvcs=false', ...flags, '-o', program, '.'], {
      cwd: 'test/targets/demo',
      env: { ...process.env, ...goEnvironment() },
      stdio: 'inherit',
    });
  return program;
}

/** As test/targets/Makefile: nothing outside build/ is written. */
function goEnvironment(): Record<string, string> {
  const home = resolve('build/go');
  return {
    HOME: home,
    GOCACHE: join(home, 'cache'),
    GOPATH: join(home, 'path'),
    GOENV: 'off',
    CGO_ENABLED: '0',
  };
}

test('a program that is written over loses its probes before it runs again', async () => {
  const program = join(directory, 'overwritten');
  copyFileSync(targetPath('demo'), program);
  const capture = await Capture.open();
  try {
    await capture.attach(program);
    const before = await startDemo(downstream, program);
    await get(before, '/health/before');
    await before.stop();
    copyFileSync(targetPath('cases'), program); // the same inode, other code
    await expect.poll(() => capture.executables.list().length).toBe(0);
    const server = await startCases(downstream, { program });
    for (let i = 0; i < 3; i++) await get(server, `/none/${i}`);
    await server.stop();
    await capture.until(() => capture.starts.length > 0);
    expect(capture.starts.map(({ path }) => path)).toEqual(['/health/before']);
  } finally {
    await capture.close();
  }
});
