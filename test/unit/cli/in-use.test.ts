import { expect, it } from 'vitest';
import type { Flow } from '../../../schemas/rows.ts';
import { inUseAt } from '../../../services/cli/in-use.ts';
import { sampleFlow } from '../../support/sample-flow.ts';

const at = (seconds: number, path: string, change: Partial<Flow> = {}): Flow =>
  sampleFlow({ time: BigInt(seconds) * 1_000_000_000n, 'url.path': path, ...change });
const OTHER_PORT = { 'network.local.port': 40_523 };

/** Paths in the order of the answer, those in use first. */
function paths(flows: readonly Flow[], seconds: number): string[][] {
  const { inUse, others } = inUseAt(flows, BigInt(seconds) * 1_000_000_000n);
  return [inUse, others].map((part) => part.map((flow) => flow['url.path']!));
}

it('the last flow that began by then was using the connection', () => {
  const flows = [at(10, '/a'), at(20, '/b'), at(30, '/c')];
  expect(paths(flows, 20)).toEqual([['/b'], ['/a', '/c']]);
  expect(paths(flows, 29)).toEqual([['/b'], ['/a', '/c']]);
  expect(paths(flows, 99)).toEqual([['/c'], ['/a', '/b']]);
  expect(paths(flows, 9)).toEqual([[], ['/a', '/b', '/c']]);
});

it('of each connection one, whichever side is local', () => {
  const flows = [
    at(10, '/a'),
    at(11, '/b', OTHER_PORT),
    at(12, '/c'),
    at(13, '/d', { 'host.name': 'node-b' }),
  ];
  expect(paths(flows, 20)).toEqual([['/b', '/c', '/d'], ['/a']]);
  const reversed = at(14, '/e', {
    'network.local.address': '10.0.0.9',
    'network.local.port': 5432,
    'network.peer.address': '10.0.0.7',
    'network.peer.port': 40_522,
  });
  expect(paths([...flows, reversed], 20)).toEqual([
    ['/b', '/d', '/e'],
    ['/a', '/c'],
  ]);
});
