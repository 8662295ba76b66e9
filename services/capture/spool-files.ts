// The spool's directory: `<number>.<run>.v1`, one a segment, and `losses.json`. Writes go to the page cache: they
// survive the death of the process, not a power cut within the seconds until the kernel writes them back.
import { createHash } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { FlowtagError } from '../runtime/errors.ts';
import type { Losses, SegmentName, SpoolFiles } from './spool.ts';

const SEGMENT = /^(\d{10})\.(\d+)\.v1$/;
const LOSSES = 'losses.json';
const count = z.number().int().nonnegative();
const losses = z.object({
  ofRuns: z.record(z.string(), z.object({ uprobe: count, kprobe: count })),
  dropping: z.object({ number: count, bytes: count }).optional(),
});

/** Throws FlowtagError SPOOL_IN_USE, or what the file system says. */
export async function openSpoolFiles(dir: string): Promise<SpoolDirectory> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return new SpoolDirectory(dir, await claim(dir));
}

export class SpoolDirectory implements SpoolFiles {
  private readonly dir: string;
  private readonly unclaim: () => void;
  private tail: { readonly number: number; readonly fd: number } | undefined;

  constructor(dir: string, unclaim: () => void) {
    this.dir = dir;
    this.unclaim = unclaim;
    writeFileSync(join(dir, 'writable'), ''); // now rather than with the first event
    rmSync(join(dir, 'writable'));
  }

  list(): (SegmentName & { readonly bytes: number })[] {
    const found = readdirSync(this.dir).flatMap((file) => {
      const [, number, run] = SEGMENT.exec(file) ?? [];
      return run === undefined
        ? []
        : [{ number: Number(number), run, bytes: statSync(join(this.dir, file)).size }];
    });
    for (const segment of found) if (segment.bytes === 0) this.remove(segment);
    return found.filter(({ bytes }) => bytes > 0);
  }

  losses(): Losses {
    try {
      return losses.parse(JSON.parse(readFileSync(join(this.dir, LOSSES), 'utf8')));
    } catch {
      return { ofRuns: {} };
    }
  }

  saveLosses(losses: Losses): void {
    this.writeWhole(LOSSES, JSON.stringify(losses));
  }

  append(segment: SegmentName, at: number, record: Uint8Array): void {
    const fd = this.open(segment);
    let written = 0;
    try {
      while (written < record.length)
        written += writeSync(fd, record, written, record.length - written, at + written);
    } catch (error) {
      if (written > 0) ftruncateSync(fd, at);
      throw error;
    }
  }

  read(segment: SegmentName, from: number, to: number): Buffer {
    const fd = openSync(this.pathOf(segment), 'r');
    try {
      const bytes = Buffer.allocUnsafe(to - from);
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from));
    } finally {
      closeSync(fd);
    }
  }

  replace(segment: SegmentName, record: Uint8Array): void {
    this.writeWhole(nameOf(segment), record);
  }

  truncate({ number }: SegmentName): void {
    if (this.tail?.number === number) ftruncateSync(this.tail.fd, 0);
  }

  remove(segment: SegmentName): void {
    rmSync(this.pathOf(segment), { force: true });
  }

  close(): void {
    if (this.tail) closeSync(this.tail.fd);
    this.tail = undefined;
    this.list(); // removes what is empty
    this.unclaim();
  }

  private open(segment: SegmentName): number {
    if (this.tail?.number === segment.number) return this.tail.fd;
    const fd = openSync(this.pathOf(segment), 'w', 0o600);
    if (this.tail) closeSync(this.tail.fd);
    this.tail = { number: segment.number, fd };
    return fd;
  }

  private writeWhole(name: string, content: string | Uint8Array): void {
    const path = join(this.dir, name);
    writeFileSync(`${path}.new`, content, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  private pathOf(segment: SegmentName): string {
    return join(this.dir, nameOf(segment));
  }
}

function nameOf({ number, run }: SegmentName): string {
  return `${String(number).padStart(10, '0')}.${run}.v1`;
}

/**
 * The claim is an abstract Unix socket (unix(7)): the kernel takes it back however this process ends. Network namespaces
 * do not see each other's: two containers have to be given two directories.
 */
function claim(dir: string): Promise<() => void> {
  const name = createHash('sha256').update(realpathSync(dir)).digest('hex').slice(0, 32);
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      const cure = 'stop it, or give this one another --spool-dir or --data-dir';
      reject(
        new FlowtagError('SPOOL_IN_USE', `another capture uses the spool in ${dir}: ${cure}`, {
          exitCode: 2,
        }),
      );
    });
    server.listen({ path: `\0flowtag-spool-${name}` }, () => resolve(() => server.close()));
    server.unref();
  });
}
