// Every subject and stream name of the bus, and the encoding that makes any host or service name a safe token.

/** Number of partitions of protocol v1; a correlator reads `flowtag.ev.*.<partition>.*` in stream order. */
export const PARTITIONS = 32;
const PARTITION_TOKENS = new Set(Array.from({ length: PARTITIONS }, (_, partition) => String(partition)));
export const EVENT_STREAM = 'FLOWTAG_EV';
export const FLOW_STREAM = 'FLOWTAG_FLOW';
export const DEAD_LETTER_STREAM = 'FLOWTAG_DEAD';
export const EVENT_SUBJECTS = 'flowtag.ev.>';
export const FLOW_SUBJECTS = ['flowtag.flow.>', 'flowtag.request.>', 'flowtag.ledger.>'];
export const DEAD_LETTER_SUBJECTS = 'flowtag.dead.>';
export const LIVE_FLOWS = 'flowtag.flow.>';
export const LIVE_REQUESTS = 'flowtag.request.>';
export const STATUS_SUBJECTS = 'flowtag.status.>';
export const API_SUBJECTS = 'flowtag.api.*';
/** KV buckets: positions of the correlators' partitions, who is there and owns what, the sink's position. */
export const CHECKPOINT_BUCKET = 'FLOWTAG_CHECKPOINT';
export const LEASE_BUCKET = 'FLOWTAG_LEASE';
export const SINK_BUCKET = 'FLOWTAG_SINK';

export type EventKind = 'uprobe' | 'kprobe';
export const API_VERBS = ['flows', 'lookup', 'ledger'] as const;
export type ApiVerb = (typeof API_VERBS)[number];

/** Subjects that one partition consists of. */
export function partitionSubjects(partition: number): string {
  return `flowtag.ev.*.${partition}.*`;
}

/** Whether one of `partitionSubjects` matches it. */
export function isOfPartition(subject: string): boolean {
  const tokens = subject.split('.');
  return tokens.length === 5 && PARTITION_TOKENS.has(tokens[3]!);
}

export function eventSubject(kind: EventKind, host: string, bucket = 0): string {
  const token = encodeToken(host);
  return `flowtag.ev.${kind}.${partitionOf(token, bucket)}.${token}`;
}

/** The host that may write this subject: the bus checks it, so it is trusted above what a payload claims. */
export function parseEventSubject(
  subject: string,
): { kind: EventKind; partition: number; host: string } | undefined {
  const match = /^flowtag\.ev\.(uprobe|kprobe)\.(0|[1-9]\d?)\.([^.]+)$/.exec(subject);
  if (!match) return undefined;
  const partition = Number(match[2]);
  const host = decodeToken(match[3]!);
  if (partition >= PARTITIONS || host === undefined) return undefined;
  return { kind: match[1] as EventKind, partition, host };
}

export function flowSubject(host: string, service: string): string {
  return `flowtag.flow.${encodeToken(host)}.${encodeToken(service)}`;
}

export function requestSubject(host: string, service: string): string {
  return `flowtag.request.${encodeToken(host)}.${encodeToken(service)}`;
}

export function ledgerSubject(host: string): string {
  return `flowtag.ledger.${encodeToken(host)}`;
}

export function statusSubject(role: string, instance: string): string {
  return `flowtag.status.${encodeToken(role)}.${encodeToken(instance)}`;
}

export function apiSubject(verb: ApiVerb): string {
  return `flowtag.api.${verb}`;
}

/** Where a message that cannot be processed is set aside, by who set it aside and why. */
export function deadLetterSubject(role: string, reason: string): string {
  return `flowtag.dead.${encodeToken(role)}.${encodeToken(reason)}`;
}

/** FNV-1a-32 over the host token and the bucket, mod 32: what nats-server's `partition()` computes too. */
export function partitionOf(hostToken: string, bucket = 0): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${hostToken}${bucket}`)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % PARTITIONS;
}

/** Bytes outside `[A-Za-z0-9_-]` become `=XX`; the empty name becomes a lone `=`. Reversible. */
export function encodeToken(name: string): string {
  if (name === '') return '=';
  if (/^[\w-]+$/.test(name)) return name;
  let token = '';
  for (const byte of Buffer.from(name)) {
    const char = String.fromCharCode(byte);
    token += /[\w-]/.test(char) ? char : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return token;
}

/** The name behind a token, or undefined when no name encodes to it. */
export function decodeToken(token: string): string | undefined {
  if (token === '=') return '';
  if (!/^(?:[\w-]|=[0-9A-F]{2})+$/.test(token)) return undefined;
  const name = Buffer.from(
    token.replace(/=([0-9A-F]{2})|([\w-])/g, (_, hex, char) => hex ?? char.charCodeAt(0).toString(16)),
    'hex',
  ).toString();
  return encodeToken(name) === token ? name : undefined;
}
