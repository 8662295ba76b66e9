// A fleet under way, and whether what came out of it is the truth.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Publisher } from '../../../services/runtime/bus.ts';
import { DRAIN_MS, type Fleet } from './fleet.ts';
import { type Output, type Running, until } from './rig.ts';

/** Publishes `ticks` drains at the pace of capture; `at` is called before each. */
export async function publish(
  publisher: Publisher,
  fleet: Fleet,
  ticks: number,
  at: (tick: number) => void | Promise<void>,
): Promise<void> {
  for (let tick = 0; tick < ticks; tick++) {
    await at(tick);
    for (const message of fleet.drain(tick, tick === ticks - 1)) publisher.publish(message);
    await sleep(DRAIN_MS);
  }
  expect(await publisher.flush(20_000)).toBe(true);
}

/** `running`: those that are alive, and must stay so. */
export async function expectTruth(fleet: Fleet, output: Output, running: readonly Running[]): Promise<void> {
  const logs = (): string => running.map((one) => one.log()).join('\n');
  await until('all flows and requests', () => {
    if (running.some(({ child }) => child.exitCode !== null)) throw new Error(`correlator ended:\n${logs()}`);
    return output.flows.size >= fleet.flows.size && output.requests.size >= fleet.requests.size;
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${output.flows.size} of ${fleet.flows.size} flows\n${logs()}`);
  });
  expect(new Map([...output.flows].sort())).toEqual(new Map([...fleet.flows].sort()));
  expect(new Map([...output.requests].sort())).toEqual(new Map([...fleet.requests].sort()));
  expect(output.storedTwice).toEqual([]);
  expect(output.publishedAgain.unflagged).toBe(0);
}
