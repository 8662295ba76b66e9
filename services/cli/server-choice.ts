// Which bus a verb talks to.
import { readUpRecord, upRecordFile } from './up-record.ts';

export interface ServerChoice {
  readonly server: string;
  /** Where that comes from, for messages. */
  readonly origin: string;
}

const DEFAULT_SERVER = 'nats://127.0.0.1:4222';

/** What was given (flag or environment), else what `up` left in the data directory, else NATS's own default. */
export function chooseServer(given: string | undefined, dataDir: string): ServerChoice {
  if (given !== undefined) return { server: given, origin: 'as given by --server or FLOWTAG_SERVER' };
  const file = upRecordFile(dataDir);
  const record = readUpRecord(dataDir);
  if (record && isAlive(record.pid)) return { server: record.server, origin: `from ${file}` };
  const why = record ? `is left over from pid ${record.pid}, which is gone` : 'does not exist';
  return { server: DEFAULT_SERVER, origin: `the default: ${file} ${why}` };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // there, and of another user
  }
}
