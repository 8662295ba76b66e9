// A Go executable, from bytes to what probing it needs. Works on what stripping leaves: the function table and the
// build information. Pure but for readGoBinary.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { readBuildId, readBuildInfo } from './build-info.ts';
import { CHANNEL_FUNCTIONS, type ChannelProbes, planChannelProbes } from './channel-probes.ts';
import { type ElfFile, isStripped, parseElf } from './elf.ts';
import { GoBinaryError } from './go-binary-error.ts';
import { type GoOffsets, parseGoMinor, structOffsets } from './offsets.ts';
import { findFunctionTables } from './pclntab.ts';
import {
  type Fallback,
  type NotAttachable,
  PROBED_FUNCTIONS,
  type ProbeSite,
  planProbes,
  SERVE_CONNECTION,
} from './probes.ts';
import { type GoFunctions, readFunctions } from './program.ts';
import { findStatusOffset, STATUS_FUNCTION } from './status-offset.ts';
import { locateSymbols, type SymbolTables } from './symbol-tables.ts';
import { findTextStart, type TextStart } from './text-start.ts';
import { findTlsOffset, TLS_FUNCTIONS } from './tls.ts';

export interface GoBinary {
  readonly goVersion: string;
  readonly minor: number;
  /** Go build id or ''. */
  readonly buildId: string;
  /** Main module (main package where modules were not used), or ''. */
  readonly modulePath: string;
  readonly pie: boolean;
  readonly stripped: boolean;
  readonly textStartBy: TextStart['by'];
  readonly offsets: GoOffsets;
  readonly symbols: SymbolTables;
  readonly sites: readonly ProbeSite[];
  readonly notAttachable: readonly NotAttachable[];
  readonly fallbacks: readonly Fallback[];
  /** Attached only where asked for. */
  readonly channels: ChannelProbes;
}

export interface ParseOptions {
  /** Read a Go newer than the known ones with the newest known offsets. */
  readonly allowUnknownGo?: boolean;
}

/** Throws GoBinaryError, and nothing else, whatever the bytes are. */
export function parseGoBinary(bytes: Buffer, options: ParseOptions = {}): GoBinary {
  const elf = parseElf(bytes);
  const info = readBuildInfo(elf);
  if (info === undefined)
    throw new GoBinaryError('not_go', 'not a Go program: it has no Go build information');
  const { goVersion, modulePath } = info;
  const struct = structOffsets(goVersion, options.allowUnknownGo ?? false);
  const { functions, textStartBy, symbols } = locateFunctions(elf);
  if (functions.get(SERVE_CONNECTION)!.length === 0)
    throw new GoBinaryError(
      'no_net_http',
      "a Go program without net/http's server: there are no requests to see",
    );
  const tlsG = findTlsOffset(elf, functions);
  if (tlsG === undefined)
    throw new GoBinaryError(
      'not_attachable',
      'cannot tell where its threads keep the current goroutine; please report how it was built and linked',
    );
  const plan = planProbes(functions, struct.goid);
  const minor = parseGoMinor(goVersion)!;
  return {
    goVersion,
    minor,
    buildId: readBuildId(elf),
    modulePath,
    pie: elf.pie,
    stripped: isStripped(elf),
    textStartBy,
    symbols,
    offsets: {
      ...struct,
      responseStatus: findStatusOffset(functions) ?? struct.responseStatus,
      tlsG,
    },
    channels: planChannelProbes(functions),
    ...plan,
  };
}

/**
 * Reads the whole file with read(): in a mapping, private and read-only ones included, the kernel would show us the
 * breakpoints of probes that are already attached instead of the code.
 */
export async function readGoBinary(path: string, options: ParseOptions = {}): Promise<GoBinary> {
  let file: FileHandle | undefined;
  let bytes: Buffer;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    bytes = await readWhole(file);
  } catch (cause) {
    if (cause instanceof GoBinaryError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new GoBinaryError('not_readable', `cannot be read: ${READ_PROBLEMS[code ?? ''] ?? message}`, {
      cause,
    });
  } finally {
    await file?.close();
  }
  return parseGoBinary(bytes, options);
}

const MAX_FILE_BYTES = 1 << 30;
const READ_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT:
    'no such file; has the process ended, or the file been replaced? (/proc/<pid>/exe still works then)',
  EACCES: 'permission denied; run as root or with CAP_SYS_PTRACE',
  EPERM: 'permission denied; run as root or with CAP_SYS_PTRACE',
};

function locateFunctions(elf: ElfFile): {
  functions: GoFunctions;
  textStartBy: TextStart['by'];
  symbols: SymbolTables;
} {
  for (const table of findFunctionTables(elf)) {
    const start = findTextStart(elf, table);
    if (start === undefined) continue;
    const names = [...PROBED_FUNCTIONS, ...CHANNEL_FUNCTIONS, ...TLS_FUNCTIONS, STATUS_FUNCTION];
    return {
      functions: readFunctions(elf, table, start.vaddr, names),
      textStartBy: start.by,
      symbols: locateSymbols(elf, table, start.vaddr),
    };
  }
  throw new GoBinaryError(
    'no_symbols',
    'its Go function table is missing or unreadable (packed or obfuscated?); probe a plain build of it',
  );
}

async function readWhole(file: FileHandle): Promise<Buffer> {
  const stat = await file.stat();
  if (!stat.isFile()) throw new GoBinaryError('not_readable', 'not a regular file; name an executable');
  if (stat.size > MAX_FILE_BYTES)
    throw new GoBinaryError(
      'not_readable',
      `larger than ${MAX_FILE_BYTES >> 20} MiB; link it without debug data (-ldflags=-w)`,
    );
  const bytes = Buffer.allocUnsafe(stat.size);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
