// A BPF ring buffer in plain memory: the kernel's side of kernel/bpf/ringbuf.c, for the reader under test.
import type { RingMemory } from '../../../services/capture/ring-buffer.ts';

const BUSY = 2 ** 31;
const DISCARDED = 2 ** 30;
const HEADER_BYTES = 8;

export interface Reserved {
  readonly offset: number;
  readonly length: number;
}

export class RingProducer {
  readonly memory: RingMemory;
  private readonly bytes: DataView;
  private position: number;

  /** `position`: how many bytes went through the ring before. */
  constructor(size: number, position = 0) {
    const data = new Int32Array((2 * size) / 4);
    const low = (position % 2 ** 32) | 0;
    this.memory = {
      consumer: new BigUint64Array([BigInt(position)]),
      producer: new Int32Array([low]),
      data,
      size,
    };
    this.bytes = new DataView(data.buffer);
    this.position = position;
  }

  /** Space for a record, marked busy; undefined when the ring is full. */
  reserve(length: number): Reserved | undefined {
    const taken = (length + HEADER_BYTES + 7) & ~7;
    const { size, consumer, producer } = this.memory;
    if (this.position + taken - Number(consumer[0]) > size) return undefined;
    const offset = this.position % size;
    this.position += taken;
    this.setHeader(offset, length + BUSY);
    producer[0] = (this.position % 2 ** 32) | 0;
    return { offset, length };
  }

  commit({ offset, length }: Reserved, payload: Uint8Array): void {
    for (const [at, byte] of payload.entries()) this.setByte(offset + HEADER_BYTES + at, byte);
    this.setHeader(offset, length);
  }

  discard({ offset, length }: Reserved): void {
    this.setHeader(offset, length + DISCARDED);
  }

  private setHeader(offset: number, value: number): void {
    const header = new Uint8Array(new Uint32Array([value]).buffer);
    for (const [at, byte] of header.entries()) this.setByte(offset + at, byte);
  }

  /** The pages are mapped twice in a row. */
  private setByte(at: number, byte: number): void {
    const { size } = this.memory;
    this.bytes.setUint8(at % size, byte);
    this.bytes.setUint8((at % size) + size, byte);
  }
}
