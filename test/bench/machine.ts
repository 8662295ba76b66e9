// Facts about the machine that figures depend on.
import { execFile } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { targetPath } from '../support/targets.ts';

export async function machineFacts(bpftraceVersion: string): Promise<Record<string, string>> {
  const { stdout } = await promisify(execFile)('go', ['version', targetPath('bench')]);
  return {
    date: new Date().toISOString().slice(0, 10),
    processors: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: release(),
    'Go (of the servers)': stdout.trim().split(': ').at(-1)!,
    'Node.js': process.version,
    bpftrace: bpftraceVersion,
    'load average at the start': loadavg()[0]!.toFixed(2),
  };
}
