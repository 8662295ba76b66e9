// Flows for tests of the command line.
import { FLOW_COLUMNS, type Flow } from '../../schemas/rows.ts';

const EMPTY = Object.fromEntries(FLOW_COLUMNS.map((name) => [name, null])) as Flow;

/** The flow of the design's compact line, with what a test changes about it. */
export function sampleFlow(change: Partial<Flow> = {}): Flow {
  return { ...EMPTY, ...ATTRIBUTED, ...change };
}

/** A socket event that no request caused. */
export function orphanFlow(change: Partial<Flow> = {}): Flow {
  return sampleFlow({
    'flowtag.request.id': null,
    'flowtag.request.start': null,
    'http.request.method': null,
    'url.path': null,
    'flowtag.attribution.verdict': 'none',
    'flowtag.attribution.depth': null,
    'flowtag.attribution.reason': 'no_request',
    ...change,
  });
}

const TIME_NS = BigInt(new Date(2026, 10, 22, 13, 0, 1, 123).getTime()) * 1_000_000n + 456_789n;

const ATTRIBUTED: Partial<Flow> = {
  'flowtag.flow.id': '0123456789abcdef0123456789abcdef',
  time: TIME_NS,
  'host.name': 'node-a',
  'process.pid': 4321,
  'process.executable.name': 'orders-server',
  'service.name': 'orders',
  'flowtag.request.id': '77',
  'http.request.method': 'GET',
  'url.path': '/v1/orders/42',
  'flowtag.request.start': TIME_NS - 2_100_000n,
  'network.local.address': '10.0.0.7',
  'network.local.port': 40_522,
  'network.peer.address': '10.0.0.9',
  'network.peer.port': 5432,
  'flowtag.connection': 'new',
  'flowtag.attribution.verdict': 'lineage',
  'flowtag.attribution.depth': 2,
};
