// What `up` leaves in the data directory so that the other verbs find its bus, and its claim on that directory.
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { FlowtagError } from '../runtime/errors.ts';

const upRecord = z.object({ server: z.string().min(1), pid: z.number().int().positive() });
export type UpRecord = z.infer<typeof upRecord>;

export function upRecordFile(dataDir: string): string {
  return join(dataDir, 'up.json');
}

/** Undefined when there is none, or none that can be understood. */
export function readUpRecord(dataDir: string): UpRecord | undefined {
  const file = upRecordFile(dataDir);
  try {
    return upRecord.safeParse(JSON.parse(readFileSync(file, 'utf8'))).data;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES')
      throw new FlowtagError(
        'DATA_DIR',
        `${file} belongs to another user; run as that user, or give --server`,
        {
          exitCode: 3,
          cause: error,
        },
      );
    return undefined;
  }
}

/** Whole or not at all: a reader never sees half a record. */
export function writeUpRecord(dataDir: string, record: UpRecord): void {
  const file = upRecordFile(dataDir);
  writeFileSync(`${file}.new`, `${JSON.stringify(record)}\n`);
  renameSync(`${file}.new`, file);
}

export function removeUpRecord(dataDir: string): void {
  rmSync(upRecordFile(dataDir), { force: true });
}

/**
 * Claims the directory until the returned function is called or this process dies, however it dies: the claim is an
 * abstract Unix socket (unix(7)), which the kernel takes back, so there is no stale lock file to guess about.
 */
export function claimDataDir(dataDir: string): Promise<() => void> {
  const name = createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 32);
  return new Promise((resolve, reject) => {
    const claim = createServer((socket) => socket.destroy());
    claim.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      const pid = readUpRecord(dataDir)?.pid;
      const who =
        pid === undefined
          ? 'another flowtag up is starting or stopping'
          : `flowtag up runs already (pid ${pid})`;
      const cure = 'stop that one, or give this one another --data-dir';
      reject(new FlowtagError('ALREADY_UP', `${who} on ${dataDir}; ${cure}`));
    });
    claim.listen({ path: `\0flowtag-up-${name}` }, () => resolve(() => claim.close()));
    claim.unref();
  });
}
