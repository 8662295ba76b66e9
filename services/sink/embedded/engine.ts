// The engine in this process: the only import of chdb, and of koffi in the sink.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FlowtagError } from '../../runtime/errors.ts';

export interface EngineAnswer {
  readonly bytes: Uint8Array;
  readonly rowsRead: number;
  readonly bytesRead: number;
}
export interface Engine {
  readonly version: string;
  /** Runs `settings`, then `sql`, in a session of their own: settings cannot leak into another request. */
  run(settings: string, sql: string, format: string): Promise<EngineAnswer>;
  close(): void;
}

export async function openEngine(dataDir: string): Promise<Engine> {
  const { Session } = await loadEngine();
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // Open for the life of the process: it holds the lock of the data directory, and makes further sessions cheap.
  let root: InstanceType<typeof Session>;
  try {
    root = new Session(dataDir);
  } catch (error) {
    throw openProblem(dataDir, error as Error);
  }
  return {
    version: root.query('SELECT version()', 'TSV').trim(),
    async run(settings, sql, format) {
      const session = new Session(dataDir);
      try {
        await session.queryAsync(settings, { format: 'TSV' });
        const result = await session.queryAsync(sql, { format });
        return { bytes: result.bytes(), rowsRead: result.rowsRead, bytesRead: result.bytesRead };
      } finally {
        session.close();
      }
    },
    close: () => root.close(),
  };
}

async function loadEngine(): Promise<typeof import('chdb')> {
  let chdb: typeof import('chdb');
  try {
    chdb = await import('chdb');
  } catch (error) {
    throw new FlowtagError(
      'STORE_ENGINE_MISSING',
      'The embedded store needs the optional package chdb (Linux with glibc or macOS, x64 or arm64; 550 MB), ' +
        'which is not installed or does not load here. Install it with: npm install --include=optional. ' +
        'Or keep the rows in a ClickHouse server: flowtag sink --store http://HOST:8123',
      { cause: error, exitCode: 3 },
    );
  }
  await switchOffSignalHandlers();
  return chdb;
}

/**
 * Before the first session. Otherwise the engine takes over SIGSEGV, SIGABRT and others: a crash then hangs for up to
 * 300 s instead of ending the process, holding the lock of the data directory.
 */
async function switchOffSignalHandlers(): Promise<void> {
  const { libchdbPath } = await import('chdb/libchdb');
  const koffi = await import('koffi');
  koffi.default.load(libchdbPath()).func('void chdb_set_signal_handlers_enabled(int)')(0);
}

/** The engine prints why on stderr and throws without it, so its lock file is asked. */
function openProblem(dataDir: string, error: Error): FlowtagError {
  const owner = lockOwner(dataDir);
  const message =
    owner === undefined
      ? `The store in ${dataDir} cannot be opened (${error.message}); the engine's own message is above this one.`
      : `The store in ${dataDir} is in use by process ${owner}. Stop that one, or give another --data-dir.`;
  return new FlowtagError(owner === undefined ? 'STORE_OPEN' : 'STORE_LOCKED', message, { cause: error });
}

/** The living process that the lock file names. */
function lockOwner(dataDir: string): number | undefined {
  try {
    const pid = Number(/^PID: (\d+)/m.exec(readFileSync(join(dataDir, 'status'), 'utf8'))?.[1]);
    process.kill(pid, 0);
    return pid === process.pid ? undefined : pid;
  } catch {
    return undefined;
  }
}
