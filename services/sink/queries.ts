// Look-ups as SQL and parameters. Pure. Rows come oldest first, the cells of one in the order of `selectColumns`.
import type { Endpoint, FlowsQuery, LookupQuery } from '../../schemas/api.ts';
import { formatAddress, parseAddress } from '../../schemas/ip-address.ts';
import type { LedgerQuery } from '../../schemas/ledger.ts';
import { selectColumns } from './row-binary.ts';
import { ENDS, endHash, FLOWS, LEDGER, type REQUESTS, TABLES, type Table } from './schema.ts';

export interface Query {
  readonly sql: string;
  readonly params: Readonly<Record<string, string | number | bigint>>;
}

/** DateTime64(9) ends in 2262; what lies outside is cut, it cannot match more. */
const TIME_MAX_NS = 2n ** 63n - 1n;
/** Inside the order of the table, so that only the newest parts of it are read. */
const NEWEST_FIRST = 'toStartOfFiveMinutes(time) DESC, time DESC';

export function flowsQuery(query: FlowsQuery): Query {
  const { sinceNs = 0n, untilNs = TIME_MAX_NS, last } = query;
  return select([], NEWEST_FIRST, { from: clamp(sinceNs), upto: clamp(untilNs), last });
}

/**
 * Flows within the window before and after `atNs` (now, when it is not given), the nearest to it when there are more
 * than asked for; of a connection first those before it: the last of them tells who was using it. In words what is
 * wrong with the query, where the schema cannot say it.
 */
export function lookupQuery(query: LookupQuery, nowNs: bigint): Query | string {
  const at = clamp(query.atNs ?? nowNs);
  const range = { from: clamp(at - query.windowNs), upto: clamp(at + query.windowNs), last: query.limit, at };
  const nearest = 'abs(toUnixTimestamp64Nano(time) - {at:Int64}), time';
  const lastBefore = `toUnixTimestamp64Nano(time) > {at:Int64}, ${nearest}`;
  if (query.traceId !== undefined)
    return select(['trace_id = unhex({traceId:String})'], nearest, { ...range, traceId: query.traceId });
  if (query.path !== undefined)
    return select(['url_path = {path:String}'], nearest, { ...range, path: query.path });
  if (query.communityId !== undefined)
    return select(['network_community_id = base64Decode({communityId:String})'], lastBefore, {
      ...range,
      communityId: query.communityId.slice(2),
    });
  const ends = (query.ends ?? []).map(endOf);
  if (ends.length === 0) return 'a look-up needs one of ends, traceId, path, communityId';
  const params: Record<string, string | number | bigint> = { ...range };
  for (const [i, end] of ends.entries()) {
    if (typeof end === 'string') return end;
    params[`address${i}`] = end.address;
    params[`port${i}`] = end.port;
  }
  return select(ends.length === 1 ? oneEnd() : bothEnds(), lastBefore, params);
}

/** The newest books of each run that were made by then. */
export function ledgerQuery({ host, untilNs = TIME_MAX_NS }: LedgerQuery): Query {
  const newest = `SELECT ${LEDGER.columns.map(({ name }) => name).join(', ')} FROM ledger WHERE ${ofHost(host)} ORDER BY stream_seq DESC LIMIT 1 BY host_name, boot, run`;
  return {
    sql: `SELECT ${selectColumns(LEDGER)} FROM (${newest}) AS newest ORDER BY newest.host_name, newest.run LIMIT ${LEDGER_ROWS_MAX}`,
    params: { from: 0, upto: clamp(untilNs), ...(host === undefined ? {} : { host }) },
  };
}

/**
 * By boot (the first half of an id, as hex) the rows that its newest books count: those that came before them in the
 * stream, which are in the store when they are.
 */
export function storedQuery(
  table: typeof FLOWS | typeof REQUESTS,
  { host, untilNs = TIME_MAX_NS }: LedgerQuery,
  fromNs: bigint,
): Query {
  const boot = (id: string): string => `substring(${id}, 1, 8) AS boot`;
  const newest = `SELECT ${boot(LEDGER.id.name)}, max(stream_seq) AS upto_seq FROM ledger WHERE ${ofHost(host)} GROUP BY boot`;
  const rows = `SELECT ${boot(table.id.name)}, stream_seq FROM ${table.name} WHERE time >= fromUnixTimestamp64Nano({since:Int64}, 'UTC')`;
  return {
    sql: `SELECT lower(hex(boot)), count() FROM (${rows}) AS stored INNER JOIN (${newest}) AS books USING (boot) WHERE stored.stream_seq <= books.upto_seq GROUP BY boot`,
    params: { from: 0, upto: clamp(untilNs), since: clamp(fromNs), ...(host === undefined ? {} : { host }) },
  };
}

function ofHost(host: string | undefined): string {
  return host === undefined ? RANGE : `${RANGE} AND host_name = {host:String}`;
}

/** Runs in one answer: each is some 600 bytes. */
const LEDGER_ROWS_MAX = 1_000;

export function existingIds(table: Table, ids: readonly string[], fromNs: bigint, uptoNs: bigint): Query {
  const column = table.id;
  for (const id of ids) if (!column.kind.fits(id)) throw new TypeError(`${column.field} ${id} is not an id`);
  const list = ids.map((id) => `unhex('${id}')`).join(', ');
  return {
    sql: `SELECT ${column.kind.select(column.name)} FROM ${table.name} WHERE ${RANGE} AND ${column.name} IN (${list})`,
    params: { from: clamp(fromNs), upto: clamp(uptoNs) },
  };
}

/** Highest sequence, within the limits given, of a message of which rows are stored; 0 when there is none. */
export function storedUpto(fromSeq: number, uptoSeq: number): Query {
  const seqs = TABLES.map(({ name }) => `SELECT stream_seq FROM ${name}`).join(' UNION ALL ');
  return {
    sql: `SELECT max(stream_seq) FROM (${seqs}) WHERE stream_seq BETWEEN {from:UInt64} AND {upto:UInt64}`,
    params: { from: fromSeq, upto: uptoSeq },
  };
}

const RANGE =
  "time BETWEEN fromUnixTimestamp64Nano({from:Int64}, 'UTC') AND fromUnixTimestamp64Nano({upto:Int64}, 'UTC')";

function select(conditions: readonly string[], nearest: string, params: Query['params']): Query {
  // Ordered by the columns as they lie in the table: in the outer query `time` is a column of text.
  const inner = `SELECT ${FLOWS.columns.map(({ name }) => name).join(', ')} FROM flows WHERE ${[RANGE, ...conditions].join(' AND ')} ORDER BY ${nearest} LIMIT {last:UInt32}`;
  return {
    sql: `SELECT ${selectColumns(FLOWS)} FROM (${inner}) AS chosen ORDER BY chosen.time, chosen.flow_id`,
    params,
  };
}

function oneEnd(): string[] {
  return [`has(${ENDS}, ${hash(0)})`, `(${isLocal(0)} OR ${isPeer(0)})`];
}

/** In either order: who asks may stand on either side of the connection. */
function bothEnds(): string[] {
  return [
    `has(${ENDS}, ${hash(0)})`,
    `has(${ENDS}, ${hash(1)})`,
    `((${isLocal(0)} AND ${isPeer(1)}) OR (${isLocal(1)} AND ${isPeer(0)}))`,
  ];
}

function hash(end: number): string {
  return endHash(`toIPv6({address${end}:String})`, `toUInt16({port${end}:UInt16})`);
}

function isLocal(end: number): string {
  return `(network_local_address = toIPv6({address${end}:String}) AND network_local_port = {port${end}:UInt16})`;
}

function isPeer(end: number): string {
  return `(network_peer_address = toIPv6({address${end}:String}) AND network_peer_port = {port${end}:UInt16})`;
}

function endOf(end: Endpoint): Endpoint | string {
  const bytes = parseAddress(end.address);
  if (!bytes) return `${end.address} is not an IP address`;
  return { address: formatAddress(bytes), port: end.port };
}

function clamp(ns: bigint): bigint {
  return ns < 0n ? 0n : ns > TIME_MAX_NS ? TIME_MAX_NS : ns;
}
