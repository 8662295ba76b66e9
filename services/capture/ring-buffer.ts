// A BPF ring buffer read straight from its mapped pages (kernel/bpf/ringbuf.c). Pure on the memory it is
// given, so that tests can run it on memory of their own.

const BUSY = 1 << 31;
const DISCARDED = 1 << 30;
const LENGTH = DISCARDED - 1;
const HEADER_BYTES = 8;

export interface RingMemory {
  /** Writable page with the consumer's position. */
  readonly consumer: BigUint64Array;
  /** Read-only page with the producer's position; its low 32 bits suffice, the ring is at most 2 GiB. */
  readonly producer: Int32Array;
  /** The data, mapped twice in a row, so that a record never wraps. */
  readonly data: Int32Array;
  /** Size of the ring in bytes, a power of two. */
  readonly size: number;
}

export class RingBuffer {
  private readonly memory: RingMemory;
  private position: number; // exact below 2^53
  /** The last drain ended at a record that was still being written. */
  blocked = false;

  constructor(memory: RingMemory) {
    this.memory = memory;
    this.position = Number(Atomics.load(memory.consumer, 0));
  }

  get backlogBytes(): number {
    return (Atomics.load(this.memory.producer, 0) - (this.position | 0)) >>> 0;
  }

  /**
   * Calls `onRecord(offset, length)` for up to `max` records; offsets are in bytes into the data. Stops at a
   * record that is still being written. Space is given back once, at the end. Returns the number delivered.
   */
  drain(max: number, onRecord: (offset: number, length: number) => void): number {
    const { data, size } = this.memory;
    let delivered = 0;
    let available = this.backlogBytes;
    let position = this.position;
    this.blocked = false;
    while (available > 0 && delivered < max) {
      const offset = position % size;
      const header = Atomics.load(data, offset >>> 2);
      this.blocked = (header & BUSY) !== 0;
      if (this.blocked) break;
      const length = header & LENGTH;
      if (!(header & DISCARDED)) {
        onRecord(offset + HEADER_BYTES, length);
        delivered++;
      }
      const taken = (length + HEADER_BYTES + 7) & ~7;
      position += taken;
      available -= taken;
    }
    if (position !== this.position) {
      this.position = position;
      Atomics.store(this.memory.consumer, 0, BigInt(position));
    }
    return delivered;
  }
}
