// EventBatches on plain memory: records in, decoded messages out.
import { decodeEvents, type EventBatch } from '../../../schemas/events.ts';
import type { CallerFacts } from '../../../services/capture/caller-table.ts';
import { EventBatches, type EventMessage } from '../../../services/capture/event-batches.ts';
import type { ProcessFacts } from '../../../services/capture/proc.ts';
import { ProcessFactsCache } from '../../../services/capture/process-table.ts';
import { recordMemory } from './records.ts';

export const SINCE_NS = 1_763_000_000_000_000_000n;

export interface Row {
  readonly kind: 'uprobe' | 'kprobe';
  readonly id: number;
  readonly requestId: number;
  readonly timeNs: bigint;
  readonly pid: number;
}

export const NOBODY: CallerFacts = {
  ...{ function: '', file: '', line: 0, handler: '', stacktrace: '' },
  ...{ fromChannel: false, inLoop: false },
};

export class BatchRecorder {
  readonly messages: EventMessage[] = [];
  readonly batches: EventBatch[] = [];
  readonly target: EventBatches;

  constructor(
    facts: (pid: number) => ProcessFacts | undefined = () => undefined,
    callerOf: (binary: number, stack: number) => CallerFacts = () => NOBODY,
  ) {
    this.target = new EventBatches({
      host: 'node a',
      boot: 'boot-1',
      sinceNs: SINCE_NS,
      processes: new ProcessFactsCache(facts),
      executablePath: (binary) => `/opt/app-${binary}`,
      callerOf,
      ledger: () => ({ captured: { socket: this.messages.length }, dropped: {} }),
      publish: (message) => {
        const batch = decodeEvents(message.data);
        if (typeof batch === 'string') throw new Error(batch);
        this.messages.push(message);
        this.batches.push(batch);
      },
    });
    this.target.decoder.setMonotonicZero(SINCE_NS);
  }

  accept(records: readonly Buffer[]): void {
    const { bytes, offsets } = recordMemory(records);
    this.target.decoder.setMemory(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
    for (const [index, offset] of offsets.entries()) this.target.accept(offset, records[index]!.length);
  }
}

export function rowsOf(batch: EventBatch): Row[] {
  return Array.from({ length: batch.n }, (_, row) => ({
    kind: batch.kind,
    id: (batch.kind === 'uprobe' ? batch.rows.requestId : batch.rows.eventId).number(row),
    requestId: batch.rows.requestId.number(row),
    timeNs: batch.rows.timeNs.bigint(row),
    pid: batch.process['process.pid'][batch.rows.process[row]!]!,
  }));
}
