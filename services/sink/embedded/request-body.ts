// Bounded reading of request bodies. Writing a spool file is synchronous on purpose: the threads that asynchronous file
// access uses are those that run queries, and a chunk goes to the page cache in microseconds.
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';

export class BodyTooLargeError extends Error {}

export interface SpoolFile {
  readonly path: string;
  readonly bytes: number;
  remove(): void;
}

/** The body in a file; nothing is left behind when it cannot be read or written whole. */
export async function spool(request: IncomingMessage, dir: string, most: number): Promise<SpoolFile> {
  const path = join(dir, randomUUID());
  const remove = () => rmSync(path, { force: true });
  const file = openSync(path, 'wx', 0o600);
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes = grown(bytes, chunk, most);
      for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at);
    }
  } catch (error) {
    remove();
    throw error;
  } finally {
    closeSync(file);
  }
  return { path, bytes, remove };
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
