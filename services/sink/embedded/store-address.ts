// How those who may use the store find it: a file that only its owner can read, replaced in one step.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

const storeAddress = z.object({ url: z.url(), user: z.string(), password: z.string() });
export type StoreAddress = Readonly<z.infer<typeof storeAddress>>;

/** `pid` is that of its process: a file that outlived it is not taken for its successor's. */
const runningStore = storeAddress.extend({ pid: z.number().int().positive() });
export type RunningStore = Readonly<z.infer<typeof runningStore>>;

export function writeStoreAddress(path: string, value: RunningStore): void {
  const draft = `${path}.${value.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, `${JSON.stringify(value)}\n`, { mode: 0o600 });
  renameSync(draft, path);
}

/** Undefined while there is none, or it is not one. */
export function readStoreAddress(path: string): RunningStore | undefined {
  try {
    return runningStore.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}
