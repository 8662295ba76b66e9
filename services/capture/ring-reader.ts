// When to drain the ring: on a short tick while events come (nobody pays for wake-ups), asleep in poll()
// while none do (no idle cost; the first event wakes us). The flag that tells the kernel which is `shared`.
import { SHARED } from './bpf/layout.gen.ts';
import { type BpfMap, pollReadable } from './libbpf.ts';
import { RingBuffer, type RingMemory } from './ring-buffer.ts';

const PAGE = 4096;
const MAX_RECORDS = 4096; // per drain: bounds the time away from the event loop to a few ms
const EMPTY_TICKS_TO_SLEEP = 16;

export interface RingReaderOptions {
  readonly ring: BpfMap;
  readonly shared: BpfMap;
  readonly tickMs: number;
  /** Once, before anything else: the memory that record offsets refer to. */
  readonly onMemory: (data: ArrayBuffer, byteOffset: number, byteLength: number) => void;
  readonly onBegin: () => void;
  /** Byte offsets into the memory. Valid only during the call. */
  readonly onRecord: (offset: number, length: number) => void;
  /** After each drain; `complete`: all that was in the ring when it began has been delivered. */
  readonly onDrained: (complete: boolean) => void;
}

export class RingReader {
  private readonly options: RingReaderOptions;
  private readonly buffer: RingBuffer;
  private readonly asleep: Int32Array;
  private readonly poll: { close(): void };
  private timer: NodeJS.Timeout | undefined;
  private emptyTicks = 0;
  private closed = false;
  wakes = 0;

  constructor(options: RingReaderOptions) {
    this.options = options;
    const memory = mapRing(options.ring);
    this.buffer = new RingBuffer(memory);
    options.onMemory(memory.data.buffer as ArrayBuffer, memory.data.byteOffset, memory.data.byteLength);
    this.asleep = new Int32Array(options.shared.memory(PAGE, 0, true), SHARED.consumer_asleep, 1);
    this.poll = pollReadable(options.ring.fd, () => this.wake());
    this.wake();
  }

  /** Delivers everything that is in the ring now. */
  drainAll(): void {
    while (this.drain() === MAX_RECORDS);
  }

  /** Stops reading. The memory stays mapped: nothing may touch it after it is gone. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.poll.close();
  }

  private wake(): void {
    if (this.timer || this.closed) return;
    this.wakes++;
    this.emptyTicks = 0;
    Atomics.store(this.asleep, 0, 0);
    this.tick();
  }

  private tick(): void {
    this.timer = undefined;
    const records = this.drain();
    if (this.closed) return;
    this.emptyTicks = records > 0 ? 0 : this.emptyTicks + 1;
    if (this.emptyTicks >= EMPTY_TICKS_TO_SLEEP && this.fallAsleep()) return;
    this.timer = setTimeout(() => this.tick(), records === MAX_RECORDS ? 0 : this.options.tickMs);
  }

  /** An event that was committed before the kernel saw the flag would wait: look once more. */
  private fallAsleep(): boolean {
    Atomics.store(this.asleep, 0, 1);
    if (this.buffer.backlogBytes === 0) return true;
    Atomics.store(this.asleep, 0, 0);
    return false;
  }

  private drain(): number {
    this.options.onBegin();
    const records = this.buffer.drain(MAX_RECORDS, this.options.onRecord);
    this.options.onDrained(records < MAX_RECORDS && !this.buffer.blocked);
    return records;
  }
}

function mapRing(ring: BpfMap): RingMemory {
  const size = ring.maxEntries;
  const consumer = ring.memory(PAGE, 0, true);
  const rest = ring.memory(PAGE + 2 * size, PAGE, false);
  return {
    consumer: new BigUint64Array(consumer, 0, 1),
    producer: new Int32Array(rest, 0, 1),
    data: new Int32Array(rest, PAGE, (2 * size) / 4),
    size,
  };
}
