// Which store the rows are in. An embedded one has a name of its own, made with its directory; a ClickHouse server may
// have many addresses, so that all servers count as one and the same.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SinkConfig } from './config.ts';

const SERVER = 'server';

export function storeIdOf({ store, dataDir }: Pick<SinkConfig, 'store' | 'dataDir'>): string {
  if (store !== 'embedded') return SERVER;
  const dir = join(dataDir, 'store');
  const path = join(dir, 'id');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    writeFileSync(path, `embedded-${randomUUID()}\n`, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(path, 'utf8').trim();
}
