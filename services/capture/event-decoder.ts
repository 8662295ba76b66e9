// Ring records to columns, in place: no object per event. Pure on the memory that it is given.
import { ColumnWriter } from '../../schemas/columns.ts';
import {
  FLAG,
  KPROBE_COLUMNS,
  REQUEST_END,
  REQUEST_START,
  SOCKET_CLOSE,
  SOCKET_CONNECT,
  SOCKET_USE,
  UPROBE_COLUMNS,
} from '../../schemas/events.ts';
import { formatAddress, formatIpv4, isMapped } from '../../schemas/ip-address.ts';
import { CUT_MARK } from '../../schemas/request-path.ts';
import { splitHostPort } from './address.ts';
import {
  REQUEST_END as END,
  EVENT_TYPE,
  PROCESS_END,
  SOCKET_EVENT as SOCKET,
  REQUEST_START as START,
} from './bpf/layout.gen.ts';

const AF_INET = 2;
const TWO_32 = 0x1_0000_0000;
/** Of one batch: with 4096 rows of numbers it stays below 1 MiB, what a NATS server takes unless told otherwise. */
const MAX_TEXT_BYTES = 1 << 19;
/** W3C Trace Context: `<version>-<trace id>-<span id>-<flags>`; ff, zero ids and a longer version 00 are invalid. */
const TRACEPARENT =
  /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-|$)/;
/** Of a stack that was not taken, or cannot be read. */
export const NO_STACK: StackFacts = { caller: 0, flags: 0 };
const SOCKET_TYPES: Readonly<Record<number, number>> = {
  [EVENT_TYPE.EVENT_SOCKET_CONNECT]: SOCKET_CONNECT,
  [EVENT_TYPE.EVENT_SOCKET_USE]: SOCKET_USE,
  [EVENT_TYPE.EVENT_SOCKET_CLOSE]: SOCKET_CLOSE,
};

/** Index of a process in the batch being filled, for the process table that goes with it. */
export type ProcessIndex = (kind: 'uprobe' | 'kprobe', pid: number, binary: number) => number;

/** What is known of a call stack: its caller's place in the batch being filled, 0 unknown; flags for its events. */
export interface StackFacts {
  readonly caller: number;
  readonly flags: number;
}

export interface EventDecoderOptions {
  readonly capacity: number;
  readonly processIndex: ProcessIndex;
  readonly stackFacts: (binary: number, stack: number) => StackFacts;
  readonly onProcessEnd: (pid: number) => void;
}

export class EventDecoder {
  readonly uprobe: ColumnWriter<typeof UPROBE_COLUMNS>;
  readonly kprobe: ColumnWriter<typeof KPROBE_COLUMNS>;
  /** Records of a type or length that this version does not know. */
  unknown = 0;
  private readonly processIndex: ProcessIndex;
  private readonly stackFacts: EventDecoderOptions['stackFacts'];
  private readonly onProcessEnd: (pid: number) => void;
  private textBytes = 0; // of the uprobe batch being filled
  private bytes = Buffer.alloc(0);
  private words = new Uint32Array(0);
  private zeroLow = 0;
  private zeroHigh = 0;

  constructor({ capacity, processIndex, stackFacts, onProcessEnd }: EventDecoderOptions) {
    this.uprobe = new ColumnWriter(UPROBE_COLUMNS, capacity);
    this.kprobe = new ColumnWriter(KPROBE_COLUMNS, capacity);
    this.processIndex = processIndex;
    this.stackFacts = stackFacts;
    this.onProcessEnd = onProcessEnd;
  }

  /** The memory that record offsets refer to. */
  setMemory(memory: ArrayBuffer, byteOffset: number, byteLength: number): void {
    this.bytes = Buffer.from(memory, byteOffset, byteLength);
    this.words = new Uint32Array(memory, byteOffset, byteLength / 4);
  }

  /** Epoch ns of monotonic zero, added to every event time. */
  setMonotonicZero(ns: bigint): void {
    this.zeroLow = Number(ns & 0xffff_ffffn);
    this.zeroHigh = Number(ns >> 32n);
  }

  get full(): boolean {
    const { uprobe, kprobe } = this;
    if (uprobe.n === uprobe.capacity || kprobe.n === kprobe.capacity) return true;
    return uprobe.n > 0 && this.textBytes > MAX_TEXT_BYTES;
  }

  accept(offset: number, length: number): void {
    const type = this.words[offset >>> 2]!;
    if (type === EVENT_TYPE.EVENT_REQUEST_START && length === START.size) this.requestStart(offset);
    else if (type === EVENT_TYPE.EVENT_REQUEST_END && length === END.size) this.requestEnd(offset);
    else if (type in SOCKET_TYPES && length === SOCKET.size) this.socketEvent(offset, SOCKET_TYPES[type]!);
    else if (type === EVENT_TYPE.EVENT_PROCESS_END && length === PROCESS_END.size)
      this.onProcessEnd(this.u32(offset + PROCESS_END.tgid));
    else this.unknown++;
  }

  private requestStart(at: number): void {
    const { columns: c, n } = this.uprobe;
    const { bytes } = this;
    if (n === 0) this.textBytes = 0;
    this.textBytes += this.textLength(at);
    c.type[n] = REQUEST_START;
    c.process[n] = this.processIndex('uprobe', this.u32(at + START.tgid), bytes[at + START.binary]!);
    c.tid[n] = this.u32(at + START.tid);
    c.flags[n] = bytes.readUInt16LE(at + START.flags);
    this.copyU64(c.requestId, n, at + START.request_id);
    this.copyU64(c.goid, n, at + START.goid);
    this.copyTime(c.timeNs, n, at + START.time_ns);
    const method = at + START.method;
    c.method.setBytes(n, bytes, method, method + bytes[at + START.method_len]!);
    const path = at + START.path;
    const pathEnd = path + bytes.readUInt16LE(at + START.path_len);
    if ((c.flags[n]! & FLAG.pathTruncated) === 0) c.path.setBytes(n, bytes, path, pathEnd);
    else c.path.set(n, bytes.toString('utf8', path, pathEnd) + CUT_MARK);
    const query = at + START.query;
    c.query.setBytes(n, bytes, query, query + bytes.readUInt16LE(at + START.query_len));
    const host = at + START.host;
    c.serverAddress.setBytes(n, bytes, host, host + bytes[at + START.host_len]!);
    const peer = at + START.peer;
    const client = splitHostPort(bytes.toString('latin1', peer, peer + bytes[at + START.peer_len]!));
    c.clientAddress.set(n, client.address);
    c.clientPort[n] = client.port;
    this.traceContext(at, n);
    c.status[n] = 0;
    this.uprobe.n++;
  }

  private textLength(at: number): number {
    const { bytes } = this;
    const short =
      bytes[at + START.method_len]! + bytes[at + START.host_len]! + bytes[at + START.peer_len]! + 48; // 48: both ids
    return short + bytes.readUInt16LE(at + START.path_len) + bytes.readUInt16LE(at + START.query_len);
  }

  /** Anything but a valid traceparent leaves both ids empty. */
  private traceContext(at: number, n: number): void {
    const { columns: c } = this.uprobe;
    const start = at + START.traceparent;
    const text = this.bytes.toString('latin1', start, start + this.bytes[at + START.traceparent_len]!);
    const match = TRACEPARENT.exec(text);
    c.traceId.set(n, match?.[1] ?? '');
    c.spanId.set(n, match?.[2] ?? '');
  }

  private requestEnd(at: number): void {
    const { columns: c, n } = this.uprobe;
    c.type[n] = REQUEST_END;
    c.process[n] = this.processIndex('uprobe', this.u32(at + END.tgid), this.bytes[at + END.binary]!);
    c.tid[n] = this.u32(at + END.tid);
    c.flags[n] = 0;
    this.copyU64(c.requestId, n, at + END.request_id);
    this.copyU64(c.goid, n, at + END.goid);
    this.copyTime(c.timeNs, n, at + END.time_ns);
    for (const text of [c.method, c.path, c.query, c.serverAddress, c.clientAddress, c.traceId, c.spanId])
      text.set(n, '');
    c.clientPort[n] = 0;
    c.status[n] = this.bytes.readInt16LE(at + END.status);
    this.uprobe.n++;
  }

  private socketEvent(at: number, type: number): void {
    const { columns: c, n } = this.kprobe;
    const { bytes } = this;
    const binary = bytes[at + SOCKET.binary]!;
    const stack = this.number(at + SOCKET.stack);
    const depth = bytes[at + SOCKET.depth]!;
    const { caller, flags } = stack === 0 && depth === 0 ? NO_STACK : this.stackFacts(binary, stack);
    c.type[n] = type;
    c.process[n] = this.processIndex('kprobe', this.u32(at + SOCKET.tgid), binary);
    c.caller[n] = caller;
    c.tid[n] = this.u32(at + SOCKET.tid);
    c.netns[n] = this.u32(at + SOCKET.netns);
    // The request's own goroutine is no worker.
    c.flags[n] = bytes.readUInt16LE(at + SOCKET.flags) | (depth > 0 ? flags : 0);
    c.via[n] = bytes[at + SOCKET.via]!;
    c.depth[n] = depth;
    c.errno[n] = bytes.readUInt16LE(at + SOCKET.error);
    c.localPort[n] = bytes.readUInt16LE(at + SOCKET.local_port);
    c.peerPort[n] = bytes.readUInt16LE(at + SOCKET.peer_port);
    this.copyU64(c.eventId, n, at + SOCKET.event_id);
    this.copyU64(c.requestId, n, at + SOCKET.request_id);
    this.copyU64(c.goid, n, at + SOCKET.goid);
    this.copyU64(c.connectionId, n, at + SOCKET.cookie);
    this.copyU64(c.durationNs, n, at + SOCKET.duration_ns);
    this.copyTime(c.timeNs, n, at + SOCKET.time_ns);
    const local = at + SOCKET.local_address;
    const peer = at + SOCKET.peer_address;
    if (bytes.readUInt16LE(at + SOCKET.family) === AF_INET) {
      c.family[n] = 4;
      c.localAddress.set(n, formatIpv4(bytes, local));
      c.peerAddress.set(n, formatIpv4(bytes, peer));
    } else if (isMapped(bytes, peer)) {
      c.family[n] = 4;
      c.localAddress.set(n, formatIpv4(bytes, local + 12));
      c.peerAddress.set(n, formatIpv4(bytes, peer + 12));
    } else {
      c.family[n] = 6;
      c.localAddress.set(n, formatAddress(bytes, local));
      c.peerAddress.set(n, formatAddress(bytes, peer));
    }
    this.kprobe.n++;
  }

  private u32(at: number): number {
    return this.words[at >>> 2]!;
  }

  /** A u64 below 2^53. */
  private number(at: number): number {
    return this.words[at >>> 2]! + this.words[(at >>> 2) + 1]! * TWO_32;
  }

  private copyU64(column: Uint32Array, row: number, at: number): void {
    column[2 * row] = this.words[at >>> 2]!;
    column[2 * row + 1] = this.words[(at >>> 2) + 1]!;
  }

  private copyTime(column: Uint32Array, row: number, at: number): void {
    const low = this.words[at >>> 2]! + this.zeroLow;
    column[2 * row] = low;
    column[2 * row + 1] = this.words[(at >>> 2) + 1]! + this.zeroHigh + (low >= TWO_32 ? 1 : 0);
  }
}
