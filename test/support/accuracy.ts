// Truth against answers: what the downstream logged for each connection, and what somebody says caused it.
import { decodeEvents, REQUEST_START, SOCKET_CONNECT } from '../../schemas/events.ts';
import type { BusMessage } from '../../services/runtime/bus.ts';
import type { DownstreamRequest } from './targets.ts';
import { type FlowJson, localEnd } from './up.ts';

export interface Score {
  /** Of the connections that the downstream saw. */
  readonly right: number;
  readonly wrong: number;
  readonly missing: number;
  /** Answers beyond one for each connection. */
  readonly surplus: number;
  readonly of: number;
}

/**
 * `answers`: the path that is said to have caused a connection from a local end. Ports are re-used within seconds on
 * loopback, so one end may stand for several connections: their paths are compared as a bag.
 */
export function score(
  truth: readonly DownstreamRequest[],
  answers: readonly { readonly local: string; readonly path: string | undefined }[],
): Score {
  const ends = new Map<string, { expected: string[]; said: (string | undefined)[] }>();
  const at = (end: string) => ends.get(end) ?? ends.set(end, { expected: [], said: [] }).get(end)!;
  for (const { peer, requestPath } of truth) at(peer).expected.push(requestPath.split('?')[0]!);
  for (const { local, path } of answers) at(local).said.push(path);
  const result = { right: 0, wrong: 0, missing: 0, surplus: 0, of: truth.length };
  for (const { expected, said } of ends.values()) {
    const unmatched = [...said];
    const unanswered = expected.filter((path) => {
      const found = unmatched.indexOf(path);
      if (found >= 0) unmatched.splice(found, 1);
      return found < 0;
    });
    result.right += expected.length - unanswered.length;
    result.wrong += Math.min(unanswered.length, unmatched.length);
    result.missing += Math.max(0, unanswered.length - unmatched.length);
    result.surplus += Math.max(0, unmatched.length - unanswered.length);
  }
  return result;
}

export function flowAnswers(flows: readonly FlowJson[]): { local: string; path: string | undefined }[] {
  return flows.map((flow) => ({ local: localEnd(flow), path: flow['url.path'] as string | undefined }));
}

/** The rule of the script that flowtag began as: a connection belongs to the process's latest request. */
export class PidKeyed {
  private readonly events: { timeNs: bigint; pid: number; path?: string; local?: string }[] = [];

  /** A message of `flowtag.ev.>`. */
  accept({ data }: BusMessage): void {
    const batch = decodeEvents(data);
    if (typeof batch === 'string') throw new Error(batch);
    for (let row = 0; row < batch.n; row++) {
      const timeNs = batch.rows.timeNs.bigint(row);
      const pid = batch.process['process.pid'][batch.rows.process[row]!]!;
      const type = batch.rows.type[row];
      if (batch.kind === 'uprobe' && type === REQUEST_START)
        this.events.push({ timeNs, pid, path: batch.rows.path.get(row) });
      if (batch.kind === 'kprobe' && type === SOCKET_CONNECT)
        this.events.push({
          timeNs,
          pid,
          local: `${batch.rows.localAddress.get(row)}:${batch.rows.localPort[row]}`,
        });
    }
  }

  answers(): { local: string; path: string | undefined }[] {
    const latest = new Map<number, string>();
    const answers: { local: string; path: string | undefined }[] = [];
    for (const event of this.events.sort((a, b) => Number(a.timeNs - b.timeNs))) {
      if (event.path !== undefined) latest.set(event.pid, event.path);
      if (event.local !== undefined) answers.push({ local: event.local, path: latest.get(event.pid) });
    }
    return answers;
  }
}
