import { describe, expect, it } from 'vitest';
import { readColumns } from '../../../schemas/columns.ts';
import { PROCESS_COLUMNS } from '../../../schemas/events.ts';
import { NO_POD } from '../../../services/capture/pod.ts';
import type { ProcessFacts } from '../../../services/capture/proc.ts';
import { BatchProcesses, ProcessFactsCache } from '../../../services/capture/process-table.ts';

const CACHED = 16_384;

function factsOf(pid: number, executablePath = '/opt/app'): ProcessFacts {
  return {
    pid,
    executableName: 'app',
    executablePath,
    creationTimeNs: 1_763_000_000_120_000_000n,
    serviceName: `service-${pid}`,
    containerId: '',
    podUid: '',
    pod: NO_POD,
  };
}

/** A cache on processes that the test can change, and which of them it read. */
function cacheOf(path: (pid: number) => string | undefined) {
  const reads: number[] = [];
  const cache = new ProcessFactsCache((pid) => {
    reads.push(pid);
    const executablePath = path(pid);
    return executablePath === undefined ? undefined : factsOf(pid, executablePath);
  });
  return { cache, reads };
}

describe('the cache of process facts', () => {
  it('reads a process once', () => {
    const { cache, reads } = cacheOf(() => '/opt/app');
    expect(cache.get(7, '')).toEqual(factsOf(7));
    cache.get(7, '');
    expect(reads).toEqual([7]);
  });

  it('tells of a process that is gone what its probed executable tells', () => {
    const { cache } = cacheOf(() => undefined);
    const gone = {
      creationTimeNs: 0n,
      containerId: '',
      podUid: '',
      pod: NO_POD,
      executablePath: '/opt/x/app',
    };
    expect(cache.get(7, '/opt/x/app')).toEqual({
      ...gone,
      pid: 7,
      executableName: 'app',
      serviceName: 'app',
    });
    expect(cache.get(8, '')).toMatchObject({ executableName: 'unknown', executablePath: '' });
  });

  it('is bounded; what fell out is read again', () => {
    const { cache, reads } = cacheOf(() => '/opt/app');
    for (let pid = 1; pid <= CACHED + 1; pid++) cache.get(pid, '');
    cache.get(2, '');
    expect(reads).toHaveLength(CACHED + 1);
    cache.get(1, '');
    expect(reads.slice(CACHED + 1)).toEqual([1]);
  });

  it('reads a pid again after its process went, or runs another executable', () => {
    const { cache, reads } = cacheOf((pid) => `/opt/app-${pid}`);
    for (const pid of [1, 2, 3]) cache.get(pid, '');
    cache.retain(
      new Map([
        [1, '/opt/app-1'],
        [2, '/opt/other'],
      ]),
    );
    for (const pid of [1, 2, 3]) cache.get(pid, '');
    expect(reads).toEqual([1, 2, 3, 2, 3]);
  });

  it('looks again for a process that was not to be seen', () => {
    let path: string | undefined;
    const { cache } = cacheOf(() => path);
    cache.get(7, '/opt/app');
    path = '/opt/app';
    cache.retain(new Map());
    expect(cache.get(7, '/opt/app').serviceName).toBe('service-7');
  });
});

describe('the process table of a batch', () => {
  it('has each process once, by index, and starts anew after it was taken', () => {
    const table = new BatchProcesses(4);
    expect(table.indexOf(7)).toBeUndefined();
    expect([table.add(factsOf(7)), table.add(factsOf(9))]).toEqual([0, 1]);
    expect([table.indexOf(7), table.indexOf(9)]).toEqual([0, 1]);
    const columns = readColumns(PROCESS_COLUMNS, 2, table.take());
    if (typeof columns === 'string') throw new Error(columns);
    expect([...columns['process.pid']]).toEqual([7, 9]);
    expect(columns['service.name'].get(1)).toBe('service-9');
    expect(columns['process.creation.time'].bigint(1)).toBe(1_763_000_000_120_000_000n);
    expect(table.indexOf(7)).toBeUndefined();
    expect(table.add(factsOf(9))).toBe(0);
  });
});
