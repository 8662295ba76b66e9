// What the decoder makes of records.
import { readColumns } from '../../../schemas/columns.ts';
import { KPROBE_COLUMNS, UPROBE_COLUMNS } from '../../../schemas/events.ts';
import { EventDecoder } from '../../../services/capture/event-decoder.ts';
import { recordMemory } from './records.ts';

/** `seen`: the processes asked for, in order. */
export function decode(records: readonly Buffer[], monotonicZeroNs = 0n, capacity = 8) {
  const seen: unknown[] = [];
  const decoder = new EventDecoder({
    capacity,
    processIndex: (...process) => seen.push(process) - 1,
    stackFacts: (binary, stack) => ({ caller: 10 * binary + stack, flags: 32 }),
    onProcessEnd: () => undefined,
  });
  const { bytes, offsets } = recordMemory(records);
  decoder.setMemory(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  decoder.setMonotonicZero(monotonicZeroNs);
  for (const [index, offset] of offsets.entries()) decoder.accept(offset, records[index]!.length);
  const uprobe = readColumns(UPROBE_COLUMNS, decoder.uprobe.n, decoder.uprobe.take());
  const kprobe = readColumns(KPROBE_COLUMNS, decoder.kprobe.n, decoder.kprobe.take());
  if (typeof uprobe === 'string' || typeof kprobe === 'string') throw new Error(`${uprobe} ${kprobe}`);
  return { uprobe, kprobe, seen, unknown: decoder.unknown, decoder };
}
