// `flowtag.status.<role>.<instance>`: that a service lives, how it is, and its ledger counters.
import { pack } from '../../schemas/codec.ts';
import { STATUS_SCHEMA, type Status } from '../../schemas/status.ts';
import { statusSubject } from '../../schemas/subjects.ts';
import type { Bus } from './bus.ts';
import { nowNs } from './clock.ts';
import type { Health } from './metrics.ts';
import type { Ops } from './ops.ts';
import { VERSION } from './version.ts';

const INTERVAL_MS = 5_000;
const STARTING_MS = 200;

/**
 * Publishes at once, every 5 s, and as soon as the service is no longer starting and can be heard: who waits for it
 * should not wait for the next beat. Lost ones do not matter: counters are cumulative. `ops` tells the same.
 */
export function startHeartbeat(
  bus: Pick<Bus, 'connected' | 'publish'>,
  ops: Ops,
  read: () => Omit<Status, 'v' | 'version' | 'timeNs'>,
): { close(): void } {
  const beat = (): void => {
    const message: Status = { v: 1, version: VERSION, timeNs: nowNs(), ...read() };
    bus.publish(statusSubject(message.role, message.instance), STATUS_SCHEMA, pack(message));
  };
  ops.watch(() => {
    const health = read();
    if (bus.connected || health.state === 'stopping') return health;
    return { ...health, state: 'degraded', notes: [...new Set(['the bus is away', ...health.notes])] };
  });
  beat();
  const timer = setInterval(beat, INTERVAL_MS);
  const started = setInterval(() => {
    if (!bus.connected || read().state === 'starting') return;
    clearInterval(started);
    beat();
  }, STARTING_MS);
  return {
    close: () => {
      // What `read` asks is about to be closed: the last it said stays.
      const last: Health = { ...read(), state: 'stopping' };
      ops.watch(() => last);
      clearInterval(timer);
      clearInterval(started);
    },
  };
}
