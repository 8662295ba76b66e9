// What the join hands to a successor, who will read the messages from some position on again.
import type { BootState } from './boot-state.ts';
import type { JoinState } from './join-state.ts';
import { type Request, recordOf } from './request.ts';

/** `requests` by their start; those that began from position `before` on will be read again and are left out. */
export function snapshot(
  requests: Iterable<Request>,
  allBoots: readonly BootState[],
  before: number,
  windowNs: bigint,
  maxCarried: number,
): Omit<JoinState, 'evictedThrough'> {
  const open: Request[] = [];
  const ended: Request[] = [];
  const fallen = new Map<BootState, number>();
  for (const request of requests) {
    if (request.order >= before) break;
    if (request.endNs === 0n) open.push(request);
    else if (request.boot.joinable(request, windowNs)) ended.push(request);
    else noteFallen(fallen, request);
  }
  // Open ones will go on to cause flows, ended ones rarely; of both, the newest first.
  const old = [...ended, ...open];
  const overflow = Math.max(0, old.length - maxCarried);
  for (let i = 0; i < overflow; i++) noteFallen(fallen, old[i]!);
  const kept = old.slice(overflow).sort((a, b) => a.order - b.order);
  const boots = allBoots.toSorted((a, b) => a.heardSeq - b.heardSeq);
  const index = new Map(boots.map((boot, i) => [boot, i]));
  return {
    boots: boots.map((boot) => ({
      host: boot.host,
      boot: boot.boot,
      watermarkNs: boot.watermarkNs,
      fallenId: Math.max(boot.fallenId, fallen.get(boot) ?? 0),
      sequence: boot.sequence.state(),
      books: boot.books.state(),
    })),
    carried: kept.map((one) => recordOf(one, index.get(one.boot)!)),
    overflow,
  };
}

function noteFallen(fallen: Map<BootState, number>, request: Request): void {
  const { boot } = request;
  if (request.id > (fallen.get(boot) ?? 0)) fallen.set(boot, request.id);
}
