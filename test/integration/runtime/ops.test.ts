import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../../services/runtime/errors.ts';
import type { Health } from '../../../services/runtime/metrics.ts';
import { type Ops, openOps } from '../../../services/runtime/ops.ts';

const READY: Health = { state: 'ready', notes: ['probing /opt/shop'], counters: { flows_stored: 7 } };
let ops: Ops | undefined;

async function open(opsListen = '127.0.0.1:0'): Promise<Ops> {
  ops = await openOps('sink', { opsListen, host: 'node-a' });
  return ops;
}

async function get(path: string, method = 'GET'): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://${ops!.address}${path}`, { method });
  return { status: response.status, text: await response.text() };
}

afterEach(() => ops?.close());

describe('the operations endpoint', () => {
  it('is off when it is not asked for', async () => {
    expect((await open('off')).address).toBeUndefined();
  });

  it('is healthy, but not ready, before the service is', async () => {
    await open();
    expect(await get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
    const { status, text } = await get('/readyz');
    expect([status, JSON.parse(text)]).toEqual([
      503,
      { ready: false, state: 'starting', reasons: ['waiting for the bus'] },
    ]);
  });

  it('is ready when the service is, and not once it stops', async () => {
    let health = READY;
    (await open()).watch(() => health);
    expect((await get('/readyz')).status).toBe(200);
    health = { ...READY, state: 'stopping', notes: [] };
    const { status, text } = await get('/readyz');
    expect([status, JSON.parse(text).state]).toEqual([503, 'stopping']);
  });

  it('shows counters as they are now, and the process', async () => {
    let health = READY;
    (await open()).watch(() => health);
    expect((await get('/metrics')).text).toContain('flowtag_sink_stored_flows_total{host="node-a"} 7\n');
    expect((await get('/metrics')).text).toContain(
      'sink_dead_letters_total{reason="malformed",host="node-a"} 0\n',
    );
    health = { ...READY, state: 'degraded', counters: { flows_stored: 9, dead_letters_unreadable: 1 } };
    const { text } = await get('/metrics');
    expect(text).toContain('flowtag_sink_stored_flows_total{host="node-a"} 9\n');
    expect(text).toContain('flowtag_sink_dead_letters_total{reason="unreadable",host="node-a"} 1\n');
    expect(text).toContain('flowtag_sink_ready{host="node-a"} 0\n');
    expect(text).toMatch(/^flowtag_sink_state\{state="degraded",host="node-a"\} 1$/m);
    expect(text).not.toContain('state="ready"');
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_seconds',
    ])
      expect(text).toMatch(new RegExp(`^${name}\\{host="node-a"\\} `, 'm'));
  });

  it('answers nothing else', async () => {
    await open();
    expect((await get('/metrics', 'POST')).status).toBe(405);
    for (const path of ['/', '/metrics/x', '/constructor']) expect((await get(path)).status).toBe(404);
  });

  it('says which option is wrong when the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const opening = open(`127.0.0.1:${port}`);
    await expect(opening).rejects.toThrow(ConfigError);
    await expect(opening).rejects.toThrow(
      `--ops-listen (FLOWTAG_OPS_LISTEN): cannot listen on 127.0.0.1:${port}`,
    );
    other.close();
  });

  it('listens on IPv6 as well, and closes', async () => {
    const { address, close } = await open('[::1]:0');
    expect(await get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
    close();
    await expect(fetch(`http://${address}/healthz`)).rejects.toThrow();
  });
});
