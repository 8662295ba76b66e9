// Two copies of one server: a uprobe belongs to a file, so that one can be probed and the other not.
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Running, startProgram, targetPath } from '../support/targets.ts';
import type { Workload } from './results.ts';

export interface Twin {
  readonly path: string;
  readonly pid: number;
  url(workload: Workload): string;
}

export class Twins {
  readonly both: readonly [Twin, Twin];
  private readonly running: readonly Running[];
  private readonly dir: string;

  static async start(): Promise<Twins> {
    // Not in the system's temporary directory, which may refuse to execute files.
    const dir = await mkdtemp(resolve('build/bench-'));
    const running: Running[] = [];
    try {
      // The original answers the calls of its copies: another file, so never probed.
      const downstream = await startProgram(targetPath('bench'), ['serve']);
      running.push(downstream);
      const paths = [join(dir, 'server-a'), join(dir, 'server-b')];
      for (const path of paths) {
        await copyFile(targetPath('bench'), path);
        running.push(await startProgram(path, ['serve', '-downstream', `http://${downstream.listen}/noop/`]));
      }
      const twin = (at: 0 | 1): Twin => ({
        path: paths[at]!,
        pid: running[at + 1]!.pid,
        url: (workload) => `http://${running[at + 1]!.listen}/${workload}`,
      });
      return new Twins([twin(0), twin(1)], running, dir);
    } catch (error) {
      await stopAll(running, dir);
      throw error;
    }
  }

  private constructor(both: readonly [Twin, Twin], running: readonly Running[], dir: string) {
    this.both = both;
    this.running = running;
    this.dir = dir;
  }

  stop(): Promise<void> {
    return stopAll(this.running, this.dir);
  }
}

async function stopAll(running: readonly Running[], dir: string): Promise<void> {
  for (const process of running.toReversed()) await process.stop();
  await rm(dir, { recursive: true, force: true });
}
