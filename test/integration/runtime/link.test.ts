import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { connectBus } from '../../../services/runtime/bus.ts';
import { openLink } from '../../support/link.ts';
import { event, numberOf, quiet, readAll, startBus, until, upTo } from './support.ts';

/** After which publisher and reader take the link for dead. */
const PATIENCE_MS = 500;

it.each(['cut', 'hole'] as const)(
  'nothing is lost or repeated over a link that becomes a %s',
  { timeout: 60_000 },
  async (state) => {
    const at = await startBus();
    const link = await openLink(at.server.port);
    const far = await connectBus({ server: `nats://127.0.0.1:${link.port}`, name: 'far', log: quiet });
    const publisher = far.publisher({ stallMs: PATIENCE_MS });
    const numbers: number[] = [];
    const reader = far.reader({
      stream: 'FLOWTAG_EV',
      filter: 'flowtag.ev.>',
      startSeq: 1,
      onMessage: (message) => void numbers.push(numberOf(message)),
      log: quiet,
      expiresMs: PATIENCE_MS,
      silenceMs: PATIENCE_MS,
    });
    const total = 2_000;
    const publishing = (async () => {
      for (const n of upTo(total)) {
        publisher.publish(event(n));
        if (n % 10 === 9) await sleep(15);
      }
    })();
    await until('reading', () => numbers.length > 300);
    link.set(state);
    await sleep(3 * PATIENCE_MS);
    link.set('up');
    await publishing;
    expect(await publisher.flush(15_000)).toBe(true);
    await until('all messages', () => numbers.length >= total);
    expect(numbers).toEqual(upTo(total));
    expect(await readAll(at.bus)).toEqual(upTo(total));
    expect(publisher.stats).toMatchObject({ acked: total, dropped: 0 });
    await reader.close();
    await far.close();
    link.close();
    await at.close();
  },
);
