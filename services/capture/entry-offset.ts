// Where in its file an executable begins to run.
import { open } from 'node:fs/promises';
import { fileOffsetOf, parseElf } from './go/elf.ts';

/** More than the headers of an executable take. */
const HEAD_BYTES = 16_384;

export async function readEntryOffset(path: string): Promise<bigint> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const elf = parseElf(buffer.subarray(0, bytesRead), (await file.stat()).size);
    return BigInt(fileOffsetOf(elf, elf.entry, 1)!);
  } finally {
    await file.close();
  }
}
