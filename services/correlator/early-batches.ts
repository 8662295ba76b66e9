// Batches that wait for one that their host sent before them and that has not come yet: it was lost on its way to the
// bus, as when the leader of the stream dies, and its publisher is about to send it again. Bounded. Pure.
import type { BusMessage } from '../runtime/bus.ts';
import { bootKey } from './boots.ts';
import type { Arrived } from './intake.ts';

export interface Early extends Arrived {
  readonly message: BusMessage;
}

/** More than a publisher has in flight (bus-publisher.ts), and longer than it takes to notice the loss and send again. */
const MAX_OF_BOOT = 1_024;
const MAX_WAIT_NS = 10_000_000_000n;
/** Of a host that sends nothing any more, which has no time of its own. */
const MAX_ROUNDS = 12;
/** Of a partition. */
const MAX_BYTES = 64 << 20;

interface Waiting {
  /** Of one run, in the order of their numbers. */
  readonly batches: Early[];
  /** Since the first of them became the first. */
  rounds: number;
}

export class EarlyBatches {
  /** By boot. */
  private readonly waiting = new Map<string, Waiting>();
  private bytes = 0;

  get size(): number {
    let size = 0;
    for (const { batches } of this.waiting.values()) size += batches.length;
    return size;
  }

  /** Those of the same boot that wait no longer, all or none. */
  hold(early: Early): Early[] {
    const key = keyOf(early);
    const waiting = this.waiting.get(key) ?? { batches: [], rounds: 0 };
    const { batches } = waiting;
    let at = batches.length;
    while (at > 0 && batches[at - 1]!.batch.seq > early.batch.seq) at--;
    batches.splice(at, 0, early);
    this.waiting.set(key, waiting);
    this.bytes += early.message.data.length;
    const waitNs = batches.at(-1)!.batch.uptoNs - batches[0]!.batch.uptoNs;
    const isOver = batches.length > MAX_OF_BOOT || waitNs > MAX_WAIT_NS || this.bytes > MAX_BYTES;
    return isOver ? this.takeBoot(key) : [];
  }

  /** Those of an earlier run of the same boot: what they wait for will not come. */
  takeEarlierRun(arrived: Arrived): Early[] {
    const key = keyOf(arrived);
    const first = this.waiting.get(key)?.batches[0];
    return first !== undefined && first.batch.ledger.sinceNs < arrived.batch.ledger.sinceNs
      ? this.takeBoot(key)
      : [];
  }

  /** The next of the same boot, when it is its turn. */
  takeNext(arrived: Arrived, isAhead: (early: Early) => boolean): Early | undefined {
    const key = keyOf(arrived);
    const waiting = this.waiting.get(key);
    if (waiting === undefined || isAhead(waiting.batches[0]!)) return undefined;
    waiting.rounds = 0;
    const { batches } = waiting;
    const next = batches.shift()!;
    this.bytes -= next.message.data.length;
    if (batches.length === 0) this.waiting.delete(key);
    return next;
  }

  /** To be called once a second: those that have waited in vain. */
  takeStuck(): Early[] {
    const stuck: string[] = [];
    for (const [key, waiting] of this.waiting) if (++waiting.rounds > MAX_ROUNDS) stuck.push(key);
    return stuck.flatMap((key) => this.takeBoot(key));
  }

  takeAll(): Early[] {
    return [...this.waiting.keys()].flatMap((key) => this.takeBoot(key));
  }

  private takeBoot(key: string): Early[] {
    const batches = this.waiting.get(key)?.batches ?? [];
    this.waiting.delete(key);
    for (const { message } of batches) this.bytes -= message.data.length;
    return batches;
  }
}

function keyOf({ host, batch }: Arrived): string {
  return bootKey(host, batch.boot);
}
