// How every program that a test or the bench started is ended.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** SIGTERM, and SIGKILL when it has not ended after `patienceMs`; at once when it is gone already. */
export async function endChild(child: ChildProcess, patienceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  await exited;
  clearTimeout(timer);
}
