// Bounded reading of request bodies. Spooling is synchronous on purpose: the threads that asynchronous file access uses
// are those that run queries, and a chunk goes to the page cache in microseconds.
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';

export class BodyTooLargeError extends Error {}

export interface SpoolFile {
  /** Names the open file, not where it lies: the engine takes `*`, `?` and `{…}` in a path for patterns. */
  readonly path: string;
  readonly bytes: number;
  close(): void;
}

/** The body in a file without a name, which is gone once it is closed, also by a crash. */
export async function spool(request: IncomingMessage, dir: string, most: number): Promise<SpoolFile> {
  const name = join(dir, randomUUID());
  const writing = openSync(name, 'wx', 0o600);
  const reading = openSync(name, 'r');
  rmSync(name);
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes = grown(bytes, chunk, most);
      for (let at = 0; at < chunk.length; ) at += writeSync(writing, chunk, at);
    }
  } catch (error) {
    closeSync(reading);
    throw error;
  } finally {
    closeSync(writing);
  }
  return { path: `/dev/fd/${reading}`, bytes, close: () => closeSync(reading) };
}

export async function readText(request: IncomingMessage, most: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes = grown(bytes, chunk, most);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function grown(bytes: number, chunk: Buffer, most: number): number {
  if (bytes + chunk.length > most) throw new BodyTooLargeError(`A body may have ${most} bytes`);
  return bytes + chunk.length;
}
