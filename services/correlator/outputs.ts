// Rows to messages: one per service, with an id that a replay repeats.
import { REPLAY_HEADER } from '../../schemas/codec.ts';
import { LEDGER_FIELDS, LEDGER_SCHEMA, type LedgerRow } from '../../schemas/ledger.ts';
import {
  encodeRows,
  type FinishedRequest,
  FLOW_FIELDS,
  FLOW_SCHEMA,
  type Flow,
  REQUEST_FIELDS,
  REQUEST_SCHEMA,
  type RowOf,
} from '../../schemas/rows.ts';
import { encodeToken, flowSubject, ledgerSubject, requestSubject } from '../../schemas/subjects.ts';
import type { Outbound } from '../runtime/bus.ts';

export interface OutputContext {
  readonly host: string;
  /** Names the input: stream and sequence. */
  readonly idPrefix: string;
  readonly replay: boolean;
}

/** Split above this size, so that servers with a lower limit than the default 1 MiB take it too. */
const MAX_BYTES = 256 * 1024;
/** A single row larger than this does not go out. */
const MAX_ROW_BYTES = 768 * 1024;

/** `oversize` counts rows that no message can hold. */
export interface Outputs {
  readonly messages: Outbound[];
  oversize: number;
}

export function flowMessages(flows: readonly Flow[], context: OutputContext, out: Outputs): void {
  for (const [service, rows] of byService(flows)) {
    const message = { subject: flowSubject(context.host, service), schema: FLOW_SCHEMA };
    split(message, `${context.idPrefix}.f.${encodeToken(service)}`, FLOW_FIELDS, rows, context.replay, out);
  }
}

export function requestMessages(
  requests: readonly FinishedRequest[],
  context: OutputContext,
  out: Outputs,
): void {
  for (const [service, rows] of byService(requests)) {
    const message = { subject: requestSubject(context.host, service), schema: REQUEST_SCHEMA };
    split(
      message,
      `${context.idPrefix}.r.${encodeToken(service)}`,
      REQUEST_FIELDS,
      rows,
      context.replay,
      out,
    );
  }
}

/** Behind the flows and requests that it counts: who finds it stored finds them stored. */
export function ledgerMessage(rows: readonly LedgerRow[], context: OutputContext, out: Outputs): void {
  if (rows.length === 0) return;
  const message = { subject: ledgerSubject(context.host), schema: LEDGER_SCHEMA };
  split(message, `${context.idPrefix}.l`, LEDGER_FIELDS, rows, context.replay, out);
}

function byService<R extends { 'service.name': string | null }>(rows: readonly R[]): Map<string, R[]> {
  const groups = new Map<string, R[]>();
  for (const row of rows) {
    const service = row['service.name'] ?? '';
    const group = groups.get(service);
    if (group === undefined) groups.set(service, [row]);
    else group.push(row);
  }
  return groups;
}

/** Halves until it fits; `.0` and `.1` in the id tell the halves apart. */
function split<F extends Readonly<Record<string, 'string' | 'number' | 'time'>>>(
  target: { subject: string; schema: string },
  messageId: string,
  fields: F,
  rows: readonly RowOf<F>[],
  replay: boolean,
  out: Outputs,
): void {
  const data = encodeRows(fields, rows);
  if (data.length > MAX_BYTES && rows.length > 1) {
    const middle = rows.length >> 1;
    split(target, `${messageId}.0`, fields, rows.slice(0, middle), replay, out);
    split(target, `${messageId}.1`, fields, rows.slice(middle), replay, out);
  } else if (data.length > MAX_ROW_BYTES) out.oversize++;
  else {
    const headers = replay ? { headers: { [REPLAY_HEADER]: '1' } } : {};
    out.messages.push({ ...target, data, messageId, rows: rows.length, ...headers });
  }
}
