// The join: batches of one ordered stream in, rows out. Values in, values out; no clock, no randomness, no waiting.
//
// It needs no waiting because batches come in the order in which their host sent them (the pipeline sees to that): a
// request's start precedes the socket events it caused. What is unknown when a socket event arrives will stay unknown.
// Only an end says nothing about order (inside one drain it is published before the socket events that preceded it, and
// goroutines outlive their request): ended requests stay joinable for a window, measured by the host's own watermark.
import {
  type EventBatch,
  type KprobeBatch,
  REQUEST_END,
  REQUEST_START,
  SOCKET_CLOSE,
  SOCKET_CONNECT,
  SOCKET_USE,
  type UprobeBatch,
} from '../../schemas/events.ts';
import type { LedgerRow } from '../../schemas/ledger.ts';
import type { FinishedRequest, Flow } from '../../schemas/rows.ts';
import { AgeQueue } from './age-queue.ts';
import {
  type Attribution,
  attributionOf,
  EXPIRED,
  LOST_EVENT,
  REQUEST_ENDED,
  withoutRequest,
} from './attribution.ts';
import { entriesOf } from './books.ts';
import type { BootState } from './boot-state.ts';
import { Boots } from './boots.ts';
import { flowRow, readCallers, type SocketBatch } from './flow-row.ts';
import { type JoinCounters, newCounters } from './join-counters.ts';
import type { JoinState } from './join-state.ts';
import { beginRequest, carryRequest, type Request, readProcesses } from './request.ts';
import { requestRow } from './request-row.ts';
import { hasOutlived, isFirstUse, isInbound } from './request-uses.ts';
import { snapshot } from './snapshot.ts';

export interface JoinLimits {
  /** How long an ended request stays joinable. */
  readonly windowNs: bigint;
  /** How long after a request's end what its other goroutines begin is still taken for its doing. */
  readonly lateNs: bigint;
  /** Requests remembered; beyond that the oldest fall off. */
  readonly maxRequests: number;
  /** Boots of hosts remembered; beyond that the one not heard of for longest falls off. */
  readonly maxBoots: number;
  /** A boot that sends nothing for longer is forgotten. */
  readonly silentNs: bigint;
}

export interface Joined {
  readonly flows: Flow[];
  readonly requests: FinishedRequest[];
  /** Books that are due. */
  readonly ledger: readonly LedgerRow[];
  /** The batch may be one that was processed before: the rows may be in the store already. */
  readonly uncertain: boolean;
}

/** Rows in a batch are fewer (events.ts): message and row make one number, exact below 2^37 messages. */
const ROWS_PER_MESSAGE = 65_536;
const NOTHING: Joined = { flows: [], requests: [], ledger: [], uncertain: false };

export class Join {
  counters: JoinCounters = newCounters();
  private readonly limits: JoinLimits;
  private readonly boots: Boots;
  private readonly byStart = new AgeQueue<Request>();
  private evictedThrough = -1;
  /** What a checkpoint said, until the messages it covers have been read again. */
  private resuming: JoinState | undefined = undefined;

  constructor(limits: JoinLimits) {
    this.limits = limits;
    this.boots = new Boots(limits.maxBoots, (boot) => this.forgetBoot(boot));
  }

  /** Open requests and those that ended within the window. */
  get size(): number {
    return this.byStart.size;
  }

  get bootCount(): number {
    return this.boots.size;
  }

  /** Whether a batch that its host sent before it has not come, and may still do so. */
  isAhead(host: string, batch: EventBatch): boolean {
    return this.boots.find(host, batch.boot)?.sequence.isAhead(batch.ledger.sinceNs, batch.seq) ?? false;
  }

  /** The next batch of the stream. `seq` is its position there, `host` what the bus vouches for. */
  accept(host: string, batch: EventBatch, seq: number): Joined {
    const boot = this.boots.hear(host, batch.boot, seq);
    const before = entriesOf(this.counters);
    const lost = boot.sequence.lost;
    const arrival = boot.sequence.accept(batch.ledger.sinceNs, batch.seq);
    this.counters.lostBatches += boot.sequence.lost - lost;
    if (arrival === 'repeat') {
      this.counters.repeatedBatches++;
      return NOTHING;
    }
    if (arrival === 'late') this.counters.lateBatches++;
    if (arrival === 'uncertain') this.counters.uncertainBatches++;
    this.counters.batchesIn++;
    this.counters.eventsIn += batch.n;
    const flows: Flow[] = [];
    const requests: FinishedRequest[] = [];
    if (batch.kind === 'uprobe') this.acceptRequests(boot, batch, seq);
    else {
      this.acceptSocketEvents(boot, batch, flows);
      if (batch.uptoNs > boot.watermarkNs) boot.watermarkNs = batch.uptoNs;
      this.report(boot, requests);
      this.retire(boot);
    }
    this.counters.flowsOut += flows.length;
    this.counters.requestsOut += requests.length;
    const ledger = boot.books.enter(boot, batch, before, entriesOf(this.counters));
    return {
      flows,
      requests,
      ledger: this.resuming ? [] : ledger,
      uncertain: arrival === 'uncertain',
    };
  }

  /** Forgets boots of which nothing came for `silentNs`, by a clock that need not agree with theirs. */
  expire(nowNs: bigint): void {
    this.boots.dropSilent(nowNs, this.limits.silentNs);
  }

  /** Lets the oldest request fall off; there must be one. */
  dropOldest(): void {
    const oldest = this.byStart.shift()!;
    this.evictedThrough = oldest.order;
    this.counters.fallenOff++;
    this.forget(oldest);
    if (oldest.endNs > 0n) oldest.boot.ended.noteGone();
  }

  /** For a successor that reads the messages from `replayFrom` on again; at most `maxCarried` requests. */
  state(replayFrom: number, maxCarried: number): JoinState {
    const { byStart, boots, evictedThrough, limits } = this;
    const before = replayFrom * ROWS_PER_MESSAGE;
    return { ...snapshot(byStart, boots.all, before, limits.windowNs, maxCarried), evictedThrough };
  }

  /**
   * Begins where a checkpoint ended. Until `resumed()`, accept() only rebuilds what the messages between its two
   * positions had built: it gives no rows.
   */
  resume(state: JoinState): void {
    this.resuming = state;
    this.evictedThrough = state.evictedThrough;
    const boots = state.boots.map((saved) => {
      const boot = this.boots.add(saved.host, saved.boot);
      boot.watermarkNs = saved.watermarkNs;
      boot.fallenId = saved.fallenId;
      return boot;
    });
    const requests = state.carried.map((one) => carryRequest(one, boots[one.boot]!));
    for (const request of requests) {
      request.boot.requests.set(request.id, request);
      this.byStart.push(request);
    }
    for (const request of requests.filter(({ endNs }) => endNs > 0n)) {
      request.boot.ended.push(request);
      if (!request.reported) request.boot.unreported.push(request);
    }
  }

  /** All messages before the checkpoint's position have been read again: from now on accept() gives rows. */
  resumed(): void {
    if (this.resuming === undefined) return;
    for (const saved of this.resuming.boots) {
      const boot = this.boots.find(saved.host, saved.boot);
      boot?.sequence.restore(saved.sequence);
      boot?.books.restore(saved.books);
    }
    for (const request of this.byStart) request.carried = false;
    // Those carried came first, whenever they ended: none may wait behind one that expires later.
    for (const boot of this.boots.all) boot.ended.sort(byEnd);
    this.resuming = undefined;
    this.counters = newCounters();
  }

  private acceptRequests(boot: BootState, batch: UprobeBatch, seq: number): void {
    const { type, requestId } = batch.rows;
    const processes = readProcesses(batch.process, batch.processes);
    for (let row = 0; row < batch.n; row++) {
      if (type[row] === REQUEST_END) this.end(boot, batch, row);
      else if (type[row] !== REQUEST_START) this.counters.unknownRows++;
      else if (boot.requests.has(requestId.number(row))) this.counters.startsRepeated++;
      else {
        const order = seq * ROWS_PER_MESSAGE + row;
        if (order > this.evictedThrough) this.remember(beginRequest(batch, row, processes, boot, order));
      }
    }
  }

  private acceptSocketEvents(boot: BootState, batch: KprobeBatch, flows: Flow[]): void {
    const { host, idPrefix } = boot;
    const { rows } = batch;
    const processes = readProcesses(batch.process, batch.processes);
    const callers = readCallers(batch.caller, batch.callers);
    const source: SocketBatch = { host, idPrefix, rows, processes, callers };
    for (let row = 0; row < batch.n; row++) {
      const type = rows.type[row];
      if (type === SOCKET_CLOSE) this.counters.closes++;
      else if (type !== SOCKET_CONNECT && type !== SOCKET_USE) this.counters.unknownRows++;
      else this.acceptFlow(boot, source, row, flows);
    }
  }

  private acceptFlow(boot: BootState, source: SocketBatch, row: number, flows: Flow[]): void {
    const { rows } = source;
    const id = rows.requestId.number(row);
    const chain = id === 0 ? undefined : attributionOf(rows.via[row]!, rows.flags[row]!);
    if (chain === undefined) {
      this.give(source, row, withoutRequest(rows.flags[row]!), undefined, flows);
      return;
    }
    const request = boot.requests.get(id);
    if (request === undefined || !boot.joinable(request, this.limits.windowNs)) {
      const known = request !== undefined || id <= boot.fallenId;
      this.give(source, row, known ? EXPIRED : LOST_EVENT, undefined, flows);
    } else if (!request.carried) this.acceptCaused(request, chain, source, row, flows);
  }

  /** `chain`: how the kernel came to the request. */
  private acceptCaused(
    request: Request,
    chain: Attribution,
    source: SocketBatch,
    row: number,
    flows: Flow[],
  ): void {
    const { rows } = source;
    const { counters, limits } = this;
    if (isInbound(request, rows, row)) counters.inboundUses++;
    else if (!isFirstUse(request, rows, row, counters)) counters.usesMerged++;
    else if (chain.verdict === 'none') this.give(source, row, chain, undefined, flows);
    else if (hasOutlived(request, rows, row, limits.lateNs))
      this.give(source, row, REQUEST_ENDED, undefined, flows);
    else {
      request.flows++;
      this.give(source, row, chain, request, flows);
    }
  }

  private give(
    source: SocketBatch,
    row: number,
    attribution: Attribution,
    request: Request | undefined,
    flows: Flow[],
  ): void {
    const { verdict, reason } = attribution;
    if (verdict === 'none') this.counters.unattributed[reason!]++;
    if (this.resuming === undefined) flows.push(flowRow(source, row, attribution, request));
  }

  private remember(request: Request): void {
    request.boot.requests.set(request.id, request);
    this.byStart.push(request);
    if (this.byStart.size > this.limits.maxRequests) this.dropOldest();
  }

  private end(boot: BootState, batch: UprobeBatch, row: number): void {
    const { requestId, timeNs, status } = batch.rows;
    const request = boot.requests.get(requestId.number(row));
    if (request === undefined) this.counters.endsUnknown++;
    else if (request.endNs === 0n) {
      request.endNs = timeNs.bigint(row);
      request.status = status[row]!;
      boot.ended.push(request);
      boot.unreported.push(request);
    }
  }

  /** Rows of requests that ended up to the watermark: all that preceded their end has been counted by now. */
  private report(boot: BootState, rows: FinishedRequest[]): void {
    const finished: Request[] = [];
    for (let left = boot.unreported.size; left > 0; left--) {
      const request = boot.unreported.shift()!;
      if (request.endNs > boot.watermarkNs) boot.unreported.push(request);
      else finished.push(request);
    }
    for (const request of finished) request.reported = true;
    // In an order of their own: a successor has them in another one, and must repeat the message to the byte.
    if (this.resuming === undefined)
      for (const request of finished.sort(byEnd)) rows.push(requestRow(boot.host, request));
  }

  /** Lets those fall off that ended longer ago than the window. */
  private retire(boot: BootState): void {
    for (;;) {
      const request = boot.ended.oldest();
      if (request === undefined || boot.joinable(request, this.limits.windowNs)) return;
      boot.ended.shift();
      this.forget(request);
      this.byStart.noteGone();
    }
  }

  /** Takes a request out of all but the queue that it was shifted from. */
  private forget(request: Request): void {
    const { boot } = request;
    request.gone = true;
    boot.requests.delete(request.id);
    if (request.id > boot.fallenId) boot.fallenId = request.id;
    if (request.endNs > 0n && !request.reported) {
      this.counters.requestsUnreported++;
      boot.unreported.noteGone();
    }
  }

  private forgetBoot(boot: BootState): void {
    this.counters.bootsDropped++;
    for (const request of boot.requests.values()) {
      request.gone = true;
      this.byStart.noteGone();
      this.counters.fallenOff++;
      if (request.endNs > 0n && !request.reported) this.counters.requestsUnreported++;
    }
  }
}

function byEnd(a: Request, b: Request): number {
  if (a.endNs !== b.endNs) return a.endNs < b.endNs ? -1 : 1;
  return a.order - b.order;
}
