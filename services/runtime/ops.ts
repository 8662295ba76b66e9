// The operations endpoint: /healthz (the process answers), /readyz (it does its work), /metrics (Prometheus).
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Role } from '../../schemas/metrics.ts';
import { ConfigError } from './errors.ts';
import { createMetrics, type Health, isReady, PROMETHEUS_TEXT } from './metrics.ts';

export interface Ops {
  /** Where it listens, `host:port`; undefined when it is off. */
  readonly address: string | undefined;
  /** The service tells from now on how it is; until then it is starting. */
  watch(read: () => Health): void;
  close(): void;
}

export interface OpsOptions {
  /** `HOST:PORT`, an IPv6 host in brackets; or `off`. */
  readonly opsListen: string;
  readonly host: string;
}

const MAX_CONNECTIONS = 32;
const MAX_TIME_MS = 5_000;
const STARTING: Health = { state: 'starting', notes: ['waiting for the bus'], counters: {} };

/** Throws ConfigError when it cannot listen there. */
export async function openOps(role: Role, { opsListen, host }: OpsOptions): Promise<Ops> {
  let read = () => STARTING;
  const watch = (reader: () => Health): void => {
    read = reader;
  };
  if (opsListen === 'off') return { address: undefined, watch, close: () => undefined };
  const metrics = createMetrics(role, host);
  const routes: Readonly<Record<string, (response: ServerResponse) => Promise<void> | void>> = {
    '/healthz': (response) => answer(response, 200, 'text/plain', 'ok\n'),
    '/readyz': (response) => {
      const health = read();
      const { state, notes } = health;
      const ready = isReady(health);
      const body = ready ? { ready, state } : { ready, state, reasons: notes };
      answer(response, ready ? 200 : 503, 'application/json', `${JSON.stringify(body)}\n`);
    },
    '/metrics': async (response) => answer(response, 200, PROMETHEUS_TEXT, await metrics(read())),
  };
  const server = createServer(
    { requestTimeout: MAX_TIME_MS, keepAliveTimeout: MAX_TIME_MS },
    (request, response) => {
      if (request.method !== 'GET') return answer(response, 405, 'text/plain', 'only GET\n');
      const route = Object.hasOwn(routes, request.url!) ? routes[request.url!] : undefined;
      if (!route) return answer(response, 404, 'text/plain', `one of ${Object.keys(routes).join(' ')}\n`);
      // What the service tells is asked of its live parts, which may be closing: said, and no reason to end.
      Promise.resolve()
        .then(() => route(response))
        .catch((error) => answer(response, 500, 'text/plain', `${error}\n`));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return { address: await listen(server, opsListen), watch, close: () => end(server) };
}

async function listen(server: Server, opsListen: string): Promise<string> {
  const colon = opsListen.lastIndexOf(':');
  const host = opsListen.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  try {
    server.listen(Number(opsListen.slice(colon + 1)), host);
    await once(server, 'listening');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'something else listens there already' : message;
    throw new ConfigError(
      'OPS_LISTEN',
      `--ops-listen (FLOWTAG_OPS_LISTEN): cannot listen on ${opsListen}: ${why}`,
      {
        cause,
      },
    );
  }
  const { port } = server.address() as { port: number };
  return `${opsListen.slice(0, colon)}:${port}`;
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
}

function end(server: Server): void {
  server.close();
  server.closeAllConnections();
}
