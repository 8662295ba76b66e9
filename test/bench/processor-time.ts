// Processor time of a process by thread, as the scheduler accounts it (nanoseconds, not ticks).
import { readdir, readFile } from 'node:fs/promises';

export type ProcessorTime = ReadonlyMap<string, number>;

export async function readProcessorTime(pid: number): Promise<ProcessorTime> {
  const threads = await readdir(`/proc/${pid}/task`);
  // First field of schedstat: time on a processor. The kernel keeps it with CONFIG_SCHED_INFO, as distributions do.
  const times = await Promise.all(threads.map((id) => readFile(`/proc/${pid}/task/${id}/schedstat`, 'utf8')));
  return new Map(threads.map((id, at) => [id, Number.parseInt(times[at]!, 10)]));
}

/** Throws when a thread has ended meanwhile: its time is gone, and the sum would be too small. */
export function usedNs(before: ProcessorTime, after: ProcessorTime): number {
  for (const id of before.keys())
    if (!after.has(id)) throw new Error(`thread ${id} ended during a measurement: repeat the run`);
  let sum = 0;
  for (const [id, timeNs] of after) sum += timeNs - (before.get(id) ?? 0);
  return sum;
}
