// The rules that flowtag replaces, on its own events: an event on a connection belongs to the latest request that
// began in the same process, or on the same thread. Pure.
import { type EventBatch, REQUEST_START, SOCKET_CONNECT, SOCKET_USE } from '../../schemas/events.ts';
import { type Answer, endOf } from '../support/accuracy.ts';

export type Rule = 'process' | 'thread';

interface RuleEvent {
  readonly timeNs: bigint;
  readonly pid: number;
  readonly tid: number;
  /** Of the request that began, or what happened on a connection. */
  readonly path?: string;
  readonly socket?: Omit<Answer, 'path'>;
}

export class KeyedRules {
  private readonly events: RuleEvent[] = [];

  accept(batch: EventBatch): void {
    for (let row = 0; row < batch.n; row++) {
      const event = {
        timeNs: batch.rows.timeNs.bigint(row),
        pid: batch.process['process.pid'][batch.rows.process[row]!]!,
        tid: batch.rows.tid[row]!,
      };
      if (batch.kind === 'uprobe') {
        if (batch.rows.type[row] === REQUEST_START)
          this.events.push({ ...event, path: batch.rows.path.get(row) });
        continue;
      }
      const { type, requestId, localAddress, localPort } = batch.rows;
      // A use by no request says that the connection left the requests' hands: nothing was sent for one.
      const isUse = type[row] === SOCKET_USE && requestId.number(row) !== 0;
      if (type[row] !== SOCKET_CONNECT && !isUse) continue;
      const socket = {
        local: endOf(localAddress.get(row), localPort[row]!),
        timeMs: Number(event.timeNs / 1_000_000n),
        opened: type[row] === SOCKET_CONNECT,
      };
      this.events.push({ ...event, socket });
    }
  }

  /** About one process. */
  answers(pid: number, rule: Rule): Answer[] {
    const events = this.events.filter((event) => event.pid === pid);
    events.sort((a, b) => Number(a.timeNs - b.timeNs));
    const latest = new Map<number, string>();
    const answers: Answer[] = [];
    for (const { tid, path, socket } of events) {
      const key = rule === 'process' ? pid : tid;
      if (path !== undefined) latest.set(key, path);
      if (socket !== undefined) answers.push({ ...socket, path: latest.get(key) });
    }
    return answers;
  }

  clear(): void {
    this.events.length = 0;
  }
}
