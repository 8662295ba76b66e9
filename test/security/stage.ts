// What the operations of the roles are tried with: the identity under test, and a counterpart that may do everything.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bus, Outbound } from '../../services/runtime/bus.ts';

export interface Stage {
  /** Of the identity under test. */
  readonly bus: Bus;
  /** May do everything in the services' account: whoever the operation is with. */
  readonly root: Bus;
  /** A viewer that keeps all that it may do. */
  readonly viewer: Bus;
  /** Waiting on makes no sense. */
  readonly isOver: () => boolean;
}

/** Rejects when it did not come about. */
export type Run = (stage: Stage) => Promise<void>;

const LOOK_MS = 20;
const TIMEOUT_MS = 2_000;

export async function eventually(
  { isOver }: Pick<Stage, 'isOver'>,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  while (!(await holds())) {
    if (isOver()) throw new Error('it did not come about');
    await sleep(LOOK_MS);
  }
}

/** Publishes until it is acknowledged. */
export async function stored(stage: Stage, by: Bus, ...messages: readonly Outbound[]): Promise<void> {
  const publisher = by.publisher({});
  try {
    for (const message of messages) publisher.publish(message);
    await eventually(stage, () => publisher.stats.queued === 0);
  } finally {
    publisher.close();
  }
}

/** Repeats `deed` until a message of the subject arrives: a subscription is not there at once. */
export async function heard(stage: Stage, by: Bus, subject: string, deed: () => void): Promise<void> {
  let arrived = 0;
  const subscription = by.subscribe(subject, () => void arrived++);
  try {
    await eventually(stage, () => {
      deed();
      return arrived > 0;
    });
  } finally {
    subscription.close();
  }
}

/** A request to JetStream's own interface. */
export async function askJetStream(
  root: Bus,
  api: string,
  body: unknown = '',
): Promise<Record<string, unknown>> {
  const data = Buffer.from(body === '' ? '' : JSON.stringify(body));
  const reply = await root.request(`$JS.API.${api}`, '', data, TIMEOUT_MS);
  return JSON.parse(Buffer.from(reply.data).toString());
}
