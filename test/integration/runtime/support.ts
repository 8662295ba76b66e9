// What the tests of the bus share: a server with the streams, and ways to fill and read them.
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type Bus, connectBus, type Outbound } from '../../../services/runtime/bus.ts';
import { provisionStreams, type StreamLimits } from '../../../services/runtime/bus-streams.ts';
import type { Logger } from '../../../services/runtime/log.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';

export const LIMITS: StreamLimits = {
  eventBytes: 256 << 20,
  eventAgeMs: 3_600_000,
  flowBytes: 64 << 20,
  flowAgeMs: 3_600_000,
  replicas: 1,
};

export interface Lines {
  readonly log: Logger;
  readonly lines: {
    readonly level: number;
    readonly msg: string;
    readonly problem?: string;
    readonly connection?: string;
  }[];
}

/** A logger whose lines can be looked at. */
export function recordLog(): Lines {
  const lines: Lines['lines'] = [];
  return { log: pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) }), lines };
}

export const quiet: Logger = pino({ level: 'silent' });

export async function startBus(
  options: { limits?: StreamLimits } = {},
): Promise<{ server: NatsServer; bus: Bus; open: () => Promise<Bus>; close: () => Promise<void> }> {
  const server = await startNatsServer();
  const buses: Bus[] = [];
  const open = async (): Promise<Bus> => {
    const bus = await connectBus({ server: server.url, name: 'test', log: quiet });
    buses.push(bus);
    return bus;
  };
  const bus = await open();
  await provisionStreams(bus, options.limits ?? LIMITS);
  const close = async (): Promise<void> => {
    await Promise.all(buses.map((one) => one.close()));
    await server.stop();
  };
  return { server, bus, open, close };
}

export function event(n: number, bytes = 8): Outbound {
  const data = Buffer.alloc(bytes);
  data.writeUInt32LE(n);
  const subject = n % 2 === 0 ? 'flowtag.ev.uprobe.3.h' : 'flowtag.ev.kprobe.3.h';
  return { subject, schema: 'uprobe.v1', data, messageId: `h-${n}`, rows: 2 };
}

export function numberOf(message: { data: Uint8Array }): number {
  return Buffer.from(message.data).readUInt32LE();
}

export const upTo = (end: number): number[] => Array.from({ length: end }, (_, n) => n);

/** Fails with what was seen last when it does not come true in time. */
export async function until(description: string, holds: () => boolean, timeoutMs = 15_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${description}`);
    await sleep(10);
  }
}

/** Everything in the event stream now, in order. */
export async function readAll(bus: Bus): Promise<number[]> {
  const { firstSeq, lastSeq } = await bus.streamState('FLOWTAG_EV');
  const numbers: number[] = [];
  const reader = bus.reader({
    stream: 'FLOWTAG_EV',
    filter: 'flowtag.ev.>',
    startSeq: firstSeq,
    onMessage: (message) => void numbers.push(numberOf(message)),
    log: quiet,
  });
  await until(`${lastSeq} messages`, () => reader.lastSeq >= lastSeq);
  await reader.close();
  return numbers;
}
