// The store to use now: it moves when the embedded one is started again, and for a while there is none.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../runtime/log.ts';
import type { SinkConfig } from './config.ts';
import type { StoreAddress } from './embedded/store-address.ts';
import { readPassword } from './password.ts';
import { openStore, type Store, StoreError } from './store-client.ts';
import { startStoreProcess } from './store-process.ts';

export interface CurrentStore {
  /** Throws StoreError while there is none, with the reason. */
  get(): Store;
  /** Why there is none; undefined while there is one. */
  readonly away: string | undefined;
  /** Rejects when there will be none again. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

const RETRY_MS = 1_000;

export function openCurrentStore(config: SinkConfig, log: Logger): CurrentStore {
  const slot = new Slot(config.retentionDays);
  if (config.store === 'embedded') {
    const { dataDir, logLevel } = config;
    const child = startStoreProcess({
      dataDir,
      log,
      logLevel,
      onOpen: (address) => slot.open(address),
      onAway: (why) => slot.leave(why),
    });
    return slot.as(child.ended, () => child.stop());
  }
  const stopping = new AbortController();
  const address = { url: config.store, user: config.user, password: readPassword(config.passwordFile) };
  return slot.as(openRemote(slot, address, stopping.signal), async () => stopping.abort());
}

class Slot {
  away: string | undefined = 'The store is being started.';
  private store: Store | undefined;
  private readonly retentionDays: number;

  constructor(retentionDays: number) {
    this.retentionDays = retentionDays;
  }

  async open(address: StoreAddress): Promise<void> {
    const store = openStore(address);
    try {
      await store.ensureSchema(this.retentionDays);
    } catch (error) {
      this.away = (error as Error).message;
      await store.close();
      throw error;
    }
    this.store = store;
    this.away = undefined;
  }

  leave(why: string): void {
    this.away = why;
    this.store?.close().catch(() => {});
    this.store = undefined;
  }

  as(ended: Promise<void>, stop: () => Promise<void>): CurrentStore {
    const slot = this;
    return {
      get(): Store {
        if (!slot.store) throw new StoreError('STORE_AWAY', slot.away ?? 'The store is away.');
        return slot.store;
      },
      get away() {
        return slot.away;
      },
      ended,
      async close() {
        await stop();
        slot.leave('The sink is stopping.');
      },
    };
  }
}

/** Until the schema is there; from then on each query says for itself whether the server is away. */
async function openRemote(slot: Slot, address: StoreAddress, signal: AbortSignal): Promise<void> {
  while (slot.away !== undefined && !signal.aborted)
    await slot
      .open(address)
      .catch(() => sleep(RETRY_MS, undefined, { signal }))
      .catch(() => {});
  if (!signal.aborted)
    await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
}
