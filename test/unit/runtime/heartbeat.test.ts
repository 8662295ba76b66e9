import { expect, it } from 'vitest';
import type { Bus } from '../../../services/runtime/bus.ts';
import { startHeartbeat } from '../../../services/runtime/heartbeat.ts';
import type { Health } from '../../../services/runtime/metrics.ts';

it('tells the operations endpoint the same, that the bus is away, and asks nobody once it is closed', () => {
  const bus = { connected: true, publish: () => undefined };
  let tell: () => Health = () => expect.unreachable();
  const ops = {
    address: undefined,
    watch: (read: () => Health) => {
      tell = read;
    },
    close: () => undefined,
  };
  let open = true;
  const heartbeat = startHeartbeat(bus as unknown as Bus, ops, () => {
    if (!open) throw new Error('asked after its parts were closed');
    const who = { role: 'sink', instance: 'a', host: 'h', startedNs: 1n } as const;
    return { ...who, state: 'ready', notes: ['probing /opt/shop'], counters: { flows_stored: 7 } };
  });
  expect(tell()).toMatchObject({ state: 'ready', counters: { flows_stored: 7 } });
  bus.connected = false;
  expect(tell()).toMatchObject({ state: 'degraded', notes: ['the bus is away', 'probing /opt/shop'] });
  heartbeat.close();
  open = false;
  expect(tell()).toMatchObject({ state: 'stopping', counters: { flows_stored: 7 } });
});
