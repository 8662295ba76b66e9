// Which of several sinks writes: the one that holds the lease, for as long as it does. The others stand by.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bus, Leases } from '../runtime/bus.ts';
import { BusError, FlowtagError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';

export interface TurnOptions {
  readonly bus: Bus;
  readonly host: string;
  readonly log: Logger;
  /** Throws FlowtagError with the reason when this sink must not write. */
  readonly check: () => Promise<void>;
  /** While another one writes, undefined, or with what keeps this one from it. */
  readonly onStandby: (problem: string | undefined) => void;
}

const LEASE = 'sink';
const POLL_MS = 400;

/** Calls `write` with each turn; its signal aborts when the turn is lost or `signal` aborts. Then all is given back. */
export async function takeTurns(
  { bus, host, log, check, onStandby }: TurnOptions,
  signal: AbortSignal,
  write: (turn: AbortSignal) => Promise<void>,
): Promise<void> {
  let turn = new AbortController();
  let onTurn = (): void => {};
  const rest = async (): Promise<void> => {
    const taken = new Promise<void>((resolve) => {
      onTurn = resolve;
    });
    await Promise.race([sleep(POLL_MS, undefined, { signal }).catch(() => {}), taken]);
  };
  /** Who makes the streams has made the bucket of leases before. */
  let leases: Leases | undefined;
  let isFit = false;
  const openLeases = (): Leases =>
    bus.leases({
      role: 'sink',
      host,
      wanted: () => (isFit ? [LEASE] : []),
      onTaken: () => {
        turn = new AbortController();
        onTurn();
      },
      onLost: () => turn.abort(),
      onRelease: async () => turn.abort(),
    });
  try {
    for (; !signal.aborted; await rest()) {
      try {
        await check();
        isFit = true;
        leases ??= openLeases();
        onStandby(leases.problem);
        if (leases.holds(LEASE)) await write(AbortSignal.any([turn.signal, signal]));
      } catch (error) {
        if (!isPassing(error)) throw error;
        isFit = false;
        onStandby(error.message);
        if (error.code === 'FENCED') log.warn({ problem: error.message }, 'standing by');
      }
    }
  } finally {
    await leases?.close();
  }
}

/** Another sink, or a bus that is away: neither is a reason to end. */
function isPassing(error: unknown): error is FlowtagError {
  if (!(error instanceof FlowtagError)) return false;
  return error.code === 'OTHER_STORE' || (error instanceof BusError && error.code !== 'STREAM_REPLACED');
}
