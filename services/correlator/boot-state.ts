// What the join remembers of one boot of one host.
import { AgeQueue } from './age-queue.ts';
import { BatchSequence } from './batch-sequence.ts';
import { Books } from './books.ts';
import { bootPrefix } from './ids.ts';
import type { Request } from './request.ts';

export class BootState {
  readonly host: string;
  readonly boot: string;
  readonly idPrefix: string;
  /** Open, or ended within the window. */
  readonly requests = new Map<number, Request>();
  /** The ended ones among them, in the order of their ends. */
  readonly ended = new AgeQueue<Request>();
  /** The ended ones whose row has not been given out. */
  readonly unreported = new AgeQueue<Request>();
  readonly sequence = new BatchSequence();
  readonly books = new Books();
  /** Everything up to this time has been published, says the host. */
  watermarkNs = 0n;
  /** Highest id that fell off: an unknown id at or below it was known once, or is older than what is remembered. */
  fallenId = 0;
  /** Stream position of its newest batch. */
  heardSeq = 0;
  /** Time of the expiry round that first missed it; undefined while batches come. */
  silentSinceNs: bigint | undefined = undefined;

  constructor(host: string, boot: string) {
    this.host = host;
    this.boot = boot;
    this.idPrefix = bootPrefix(host, boot);
  }

  /** Whether a socket event may still be joined to it: open, or ended within the window before the watermark. */
  joinable(request: Request, windowNs: bigint): boolean {
    return request.endNs === 0n || request.endNs + windowNs >= this.watermarkNs;
  }
}
