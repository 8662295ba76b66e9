// Synthetic flows and requests, like those a correlator makes.
import { type FinishedRequest, FLOW_COLUMNS, type Flow, REQUEST_FIELDS } from '../../../schemas/rows.ts';

export const BASE_NS = BigInt(Date.now() - 60_000) * 1_000_000n;

export function emptyFlow(): Flow {
  return Object.fromEntries(FLOW_COLUMNS.map((column) => [column, null])) as Flow;
}

export function emptyRequest(): FinishedRequest {
  return Object.fromEntries(Object.keys(REQUEST_FIELDS).map((column) => [column, null])) as FinishedRequest;
}

export const hexOf = (n: number, digits = 32): string => n.toString(16).padStart(digits, '0');

/** Flow number `n` (from 1): its id, time, path and local port follow from it. */
export function flow(n: number, change: Partial<Flow> = {}): Flow {
  const timeNs = BASE_NS + BigInt(n) * 100_000n;
  return {
    ...emptyFlow(),
    'flowtag.flow.id': hexOf(n),
    time: timeNs,
    'host.name': 'node-a',
    'process.pid': 4321,
    'process.executable.name': 'orders',
    'process.executable.path': '/usr/local/bin/orders',
    'process.creation.time': BASE_NS - 1_000_000_000n,
    'service.name': 'orders',
    'thread.id': 4321,
    'flowtag.go.goroutine.id': 18,
    'flowtag.request.id': hexOf(1_000_000 + n),
    'http.request.method': 'GET',
    'url.path': `/v1/orders/${n}`,
    'server.address': 'orders.example',
    'client.address': '10.0.0.3',
    'client.port': 51_000,
    trace_id: hexOf(7_000_000 + n),
    span_id: hexOf(n, 16),
    'flowtag.request.start': timeNs - 2_100_000n,
    'network.transport': 'tcp',
    'network.type': 'ipv4',
    'network.local.address': '10.0.0.7',
    'network.local.port': 1024 + (n % 60_000),
    'network.peer.address': '10.0.0.9',
    'network.peer.port': 5432,
    'flowtag.connection': 'new',
    'flowtag.connection.id': String(n),
    'flowtag.connect.duration': 180_000,
    'flowtag.attribution.verdict': 'lineage',
    'flowtag.attribution.depth': 2,
    ...change,
  };
}

export function request(n: number, change: Partial<FinishedRequest> = {}): FinishedRequest {
  const timeNs = BASE_NS + BigInt(n) * 100_000n;
  return {
    ...emptyRequest(),
    'flowtag.request.id': hexOf(1_000_000 + n),
    time: timeNs,
    'host.name': 'node-a',
    'process.pid': 4321,
    'service.name': 'orders',
    'http.request.method': 'GET',
    'url.path': `/v1/orders/${n}`,
    'flowtag.request.start': timeNs - 2_100_000n,
    'flowtag.request.duration': 2_100_000,
    'http.response.status_code': 200,
    'flowtag.request.flows': 0,
    ...change,
  };
}
