// Facts of the processes that events name by pid, and the table of those that one batch mentions.
import { ColumnWriter } from '../../schemas/columns.ts';
import { PROCESS_COLUMNS } from '../../schemas/events.ts';
import { NO_POD } from './pod.ts';
import type { ProcessFacts } from './proc.ts';

const MAX_PROCESSES = 16_384;

/** Bounded cache: the least recently added goes, and is read again when it shows up again. */
export class ProcessFactsCache {
  private readonly facts = new Map<number, ProcessFacts>();
  private readonly read: (pid: number) => ProcessFacts | undefined;

  constructor(read: (pid: number) => ProcessFacts | undefined) {
    this.read = read;
  }

  /** For a process that is gone already: what its probed executable tells. */
  get(pid: number, executablePath: string): ProcessFacts {
    const known = this.facts.get(pid);
    if (known) return known;
    const executableName = executablePath.slice(executablePath.lastIndexOf('/') + 1) || 'unknown';
    const facts = this.read(pid) ?? {
      pid,
      executableName,
      executablePath,
      creationTimeNs: 0n,
      serviceName: executableName,
      containerId: '',
      podUid: '',
      pod: NO_POD,
    };
    if (this.facts.size >= MAX_PROCESSES) this.facts.delete(this.facts.keys().next().value!);
    this.facts.set(pid, facts);
    return facts;
  }

  /** The process ended or executed another program. */
  forget(pid: number): void {
    this.facts.delete(pid);
  }

  /** Forgets processes that are gone or run another executable: pids are re-used. */
  retain(running: ReadonlyMap<number, string>): void {
    for (const [pid, { executablePath }] of this.facts)
      if (running.get(pid) !== executablePath) this.facts.delete(pid);
  }
}

/** The process table of one batch. */
export class BatchProcesses {
  readonly writer: ColumnWriter<typeof PROCESS_COLUMNS>;
  private readonly indexes = new Map<number, number>();

  constructor(capacity: number) {
    this.writer = new ColumnWriter(PROCESS_COLUMNS, capacity);
  }

  get full(): boolean {
    return this.writer.n === this.writer.capacity;
  }

  /** Further rows of this pid are another process's. */
  forget(pid: number): void {
    this.indexes.delete(pid);
  }

  indexOf(pid: number): number | undefined {
    return this.indexes.get(pid);
  }

  /** Index of a process not yet in the table, which is not full. */
  add(facts: ProcessFacts): number {
    const { columns, n } = this.writer;
    columns['process.pid'][n] = facts.pid;
    columns['process.executable.name'].set(n, facts.executableName);
    columns['process.executable.path'].set(n, facts.executablePath);
    columns['process.creation.time'][2 * n] = Number(facts.creationTimeNs & 0xffff_ffffn);
    columns['process.creation.time'][2 * n + 1] = Number(facts.creationTimeNs >> 32n);
    columns['service.name'].set(n, facts.serviceName);
    columns['container.id'].set(n, facts.containerId);
    columns['k8s.namespace.name'].set(n, facts.pod.namespace);
    columns['k8s.pod.name'].set(n, facts.pod.name);
    columns['k8s.pod.uid'].set(n, facts.podUid);
    this.indexes.set(facts.pid, n);
    this.writer.n++;
    return n;
  }

  take(): ReturnType<ColumnWriter<typeof PROCESS_COLUMNS>['take']> {
    this.indexes.clear();
    return this.writer.take();
  }
}
