// A cheap look for discovery, which asks this of every executable on the host: no function is located, and of a
// program that is not Go only the writable data is read.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { BUILD_INFO_MAGIC } from './build-info.ts';
import { type ElfFile, PT_LOAD, parseElf, type Segment } from './elf.ts';
import { GoBinaryError } from './go-binary-error.ts';

/** Whether parsing is worth it: a Go program for linux/amd64 that contains net/http's server. Rejects as fs does. */
export async function isGoHttpServer(path: string): Promise<boolean> {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const elf = await readHead(file);
    return elf !== undefined && (await containsServer(file, elf));
  } finally {
    await file.close();
  }
}

const SERVER_NAME = Buffer.from('net/http.(*conn).serve\0');
/** Program headers directly follow the ELF header in what linkers write. */
const HEAD_BYTES = 16 << 10;
const CHUNK_BYTES = 1 << 20;
const MAX_SEGMENT_BYTES = 1 << 30;

async function readHead(file: FileHandle): Promise<ElfFile | undefined> {
  const stat = await file.stat();
  if (!stat.isFile()) return undefined;
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
  try {
    return parseElf(head.subarray(0, bytesRead), stat.size);
  } catch (error) {
    if (error instanceof GoBinaryError) return undefined;
    throw error;
  }
}

async function containsServer(file: FileHandle, { segments }: ElfFile): Promise<boolean> {
  const loads = segments.filter(({ type }) => type === PT_LOAD);
  const writable = loads.filter((load) => load.writable);
  if (!(await contains(file, writable, BUILD_INFO_MAGIC))) return false;
  // Names are in read-only data, or (external linking, position-independent) in data that relocations make writable.
  const readOnly = loads.filter((load) => !load.writable && !load.executable);
  const code = loads.filter((load) => load.executable);
  return contains(file, [...readOnly, ...writable, ...code], SERVER_NAME);
}

async function contains(file: FileHandle, segments: readonly Segment[], needle: Buffer): Promise<boolean> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (const { offset, fileSize } of segments) {
    const end = offset + Math.min(fileSize, MAX_SEGMENT_BYTES);
    // Chunks overlap, so that a needle across a border is found.
    for (let at = offset; at < end; at += CHUNK_BYTES - needle.length) {
      const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK_BYTES, end - at), at);
      if (chunk.subarray(0, bytesRead).includes(needle)) return true;
      if (bytesRead === 0) break;
    }
  }
  return false;
}
