// Leases on a connection of their own, so that renewing one never waits behind data.
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeToken } from '../../schemas/subjects.ts';
import { type ConnectionOptions, openConnection } from './bus-connection.ts';
import { type LeaseEvents, LeaseHolder } from './bus-lease-holder.ts';
import { leaseStore } from './bus-lease-store.ts';
import { BusError } from './errors.ts';
import { type Logger, Recurrence } from './log.ts';
import { isGone, processIdentity } from './process-identity.ts';

export interface LeaseOptions extends LeaseEvents {
  readonly role: string;
  readonly host: string;
}

export interface Leases {
  /** Held, and certainly by nobody else: asked by the clock, so also right after this process was stopped for a while. */
  holds(name: string): boolean;
  readonly held: readonly string[];
  /** Wanted here, and still held by somebody else. */
  readonly awaited: readonly string[];
  /** True once the bucket has answered. */
  readonly looked: boolean;
  /** Why leases are not renewed now, in words. */
  readonly problem: string | undefined;
  /** Finishes and gives back everything. */
  close(): Promise<void>;
}

/** The bucket forgets what is not renewed for this long. Longer than a cluster takes to elect a leader (5 s). */
export const LEASE_TTL_MS = 8_000;
const RENEW_MS = 2_000;
const LOOK_MS = 400;
const TIMEOUT_MS = 2_000;

export function openLeases(connection: ConnectionOptions, options: LeaseOptions): Leases {
  return new ConnectedLeases(connection, options);
}

class ConnectedLeases implements Leases {
  looked = false;
  problem: string | undefined = undefined;
  private readonly abort = new AbortController();
  private readonly log: Logger;
  private readonly connecting: ReturnType<typeof openConnection>;
  private readonly holder: LeaseHolder;
  private readonly looping: Promise<void>;
  private readonly troubles = new Recurrence();

  constructor(connection: ConnectionOptions, options: LeaseOptions) {
    this.log = connection.log;
    this.connecting = openConnection({ ...connection, signal: this.abort.signal });
    this.connecting.catch(() => undefined); // the loop sees it
    const store = leaseStore(async (subject, data, headers) => {
      return (await (await this.connecting).request(subject, data, '', TIMEOUT_MS, headers)).data;
    });
    const member = `${encodeToken(options.host)}-${processIdentity(Date.now())}`;
    const conditions = { ttlMs: LEASE_TTL_MS, renewMs: RENEW_MS, nowMs: () => performance.now(), isGone };
    this.holder = new LeaseHolder(store, options.role, member, options, conditions);
    this.looping = this.loop();
  }

  get held(): readonly string[] {
    return this.holder.names;
  }

  get awaited(): readonly string[] {
    return this.holder.awaited;
  }

  holds(name: string): boolean {
    return this.holder.holds(name);
  }

  async close(): Promise<void> {
    this.abort.abort();
    await this.looping;
    await this.holder.stop().catch((error) => this.trouble(error, 'leases not given back, they run out'));
    await this.connecting.then((connection) => connection.close()).catch(() => undefined);
  }

  private async loop(): Promise<void> {
    const { signal } = this.abort;
    while (!signal.aborted) {
      try {
        await this.holder.round();
        this.looked = true;
        this.problem = undefined;
      } catch (error) {
        if (!signal.aborted) this.trouble(error, 'leases not renewed, trying again');
      }
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private trouble(error: unknown, what: string): void {
    if (!(error instanceof BusError)) throw error;
    this.problem = error.message;
    if (this.troubles.isWorthLogging(performance.now())) this.log.warn({ problem: error.message }, what);
  }
}
