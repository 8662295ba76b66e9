// Records as the kernel writes them into the ring, with the offsets of the generated layout.
import {
  REQUEST_END as END,
  EVENT_TYPE,
  SOCKET_EVENT as SOCKET,
  REQUEST_START as START,
} from '../../../services/capture/bpf/layout.gen.ts';

const AF_INET = 2;
const AF_INET6 = 10;

export interface RequestRecord {
  readonly id: number;
  readonly timeNs?: bigint;
  readonly pid?: number;
  readonly binary?: number;
  readonly flags?: number;
  readonly status?: number;
  readonly method?: string;
  readonly path?: string | Buffer;
  readonly query?: string;
  readonly host?: string;
  readonly peer?: string;
  readonly traceparent?: string;
}

export function requestStart(of: RequestRecord): Buffer {
  const record = Buffer.alloc(START.size, 0xee); // what was in the ring before must not show
  record.writeUInt32LE(EVENT_TYPE.EVENT_REQUEST_START, START.type);
  actor(record, START, of);
  record.writeUInt16LE(of.flags ?? 0, START.flags);
  const text = (field: 'method' | 'path' | 'query' | 'host' | 'peer' | 'traceparent', wide: boolean) => {
    const bytes = Buffer.from(of[field] ?? '');
    bytes.copy(record, START[field]);
    if (wide) record.writeUInt16LE(bytes.length, START[`${field}_len`]);
    else record.writeUInt8(bytes.length, START[`${field}_len`]);
  };
  for (const field of ['method', 'host', 'peer', 'traceparent'] as const) text(field, false);
  for (const field of ['path', 'query'] as const) text(field, true);
  return record;
}

export function requestEnd(of: RequestRecord): Buffer {
  const record = Buffer.alloc(END.size, 0xee);
  record.writeUInt32LE(EVENT_TYPE.EVENT_REQUEST_END, END.type);
  actor(record, END, of);
  record.writeInt16LE(of.status ?? 200, END.status);
  return record;
}

export interface SocketRecord {
  readonly id: number;
  readonly type?: keyof typeof EVENT_TYPE;
  readonly requestId?: number;
  readonly timeNs?: bigint;
  readonly pid?: number;
  readonly binary?: number;
  readonly local?: readonly number[];
  readonly peer?: readonly number[];
  readonly error?: number;
  readonly via?: number;
  readonly depth?: number;
  readonly durationNs?: bigint;
  /** Key of its call stack. */
  readonly stack?: number;
}

/** Addresses of 4 bytes are IPv4, of 16 IPv6. */
export function socketEvent(of: SocketRecord): Buffer {
  const { local = [10, 0, 0, 7], peer = [10, 0, 0, 9] } = of;
  const record = Buffer.alloc(SOCKET.size, 0xee);
  record.writeUInt32LE(EVENT_TYPE[of.type ?? 'EVENT_SOCKET_CONNECT'], SOCKET.type);
  actor(record, { ...SOCKET, request_id: SOCKET.event_id }, of);
  record.writeBigUInt64LE(BigInt(of.requestId ?? 0), SOCKET.request_id);
  record.writeBigUInt64LE(77n, SOCKET.cookie);
  record.writeBigUInt64LE(of.durationNs ?? 0n, SOCKET.duration_ns);
  record.writeBigUInt64LE(BigInt(of.stack ?? 0), SOCKET.stack);
  record.writeUInt32LE(4_026_531_840, SOCKET.netns);
  record.writeUInt16LE(0, SOCKET.flags);
  record.writeUInt16LE(peer.length === 4 ? AF_INET : AF_INET6, SOCKET.family);
  record.writeUInt16LE(40_524, SOCKET.local_port);
  record.writeUInt16LE(5432, SOCKET.peer_port);
  record.writeUInt16LE(of.error ?? 0, SOCKET.error);
  record.writeUInt8(of.via ?? 0, SOCKET.via);
  record.writeUInt8(of.depth ?? 0, SOCKET.depth);
  Buffer.from(local).copy(record, SOCKET.local_address);
  Buffer.from(peer).copy(record, SOCKET.peer_address);
  return record;
}

type Actor = Readonly<Record<'tgid' | 'tid' | 'goid' | 'request_id' | 'time_ns' | 'binary', number>>;

/** What all records have: who did it and when. */
function actor(record: Buffer, at: Actor, of: RequestRecord | SocketRecord): void {
  record.writeUInt32LE(of.pid ?? 4321, at.tgid);
  record.writeUInt32LE(4330, at.tid);
  record.writeBigUInt64LE(37n, at.goid);
  record.writeBigUInt64LE(BigInt(of.id), at.request_id);
  record.writeBigUInt64LE(of.timeNs ?? 1n, at.time_ns);
  record.writeUInt8(of.binary ?? 0, at.binary);
}

export interface RecordMemory {
  readonly bytes: Buffer;
  /** Where each record is; 8-byte aligned as in the ring. */
  readonly offsets: readonly number[];
}

export function recordMemory(records: readonly Buffer[]): RecordMemory {
  const offsets: number[] = [];
  let end = 8;
  for (const record of records) {
    offsets.push(end);
    end += (record.length + 15) & ~7;
  }
  const bytes = Buffer.from(new ArrayBuffer(end));
  for (const [index, record] of records.entries()) record.copy(bytes, offsets[index]!);
  return { bytes, offsets };
}
