// infra/nats/leaf-node as it stands: a site's server keeps what is published while the hub is away, and the hub gets
// it once and in order. Truth: what the site's publisher was told is stored. And what a site may not do at the hub,
// tried by one that may do everything on its own server.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'nats';
import { afterEach, expect, it } from 'vitest';
import type { Bus } from '../../../services/runtime/bus.ts';
import { event, readAll, until, upTo } from '../runtime/support.ts';
import { Sites } from './sites.ts';

const TOTAL = 1_500;
const REFUSED_DOMAIN = /Not permitted to import mapping "\$JS\.site-b\.API\.CONSUMER/;

let sites: Sites;
afterEach(() => sites.close());

const lastSeq = async (bus: Bus): Promise<number> => (await bus.streamState('FLOWTAG_EV')).lastSeq;

it('the hub gets what a site published while it was cut off, once and in order', {
  timeout: 90_000,
}, async () => {
  sites = await Sites.open();
  await sites.provision('site', '--as-site');
  await sites.provision('hub');
  await sites.provision('hub', '--site', 'site-a');
  await sites.provision('hub', '--site', 'site-a'); // idempotent
  const hub = await sites.connect('hub', 'root');
  const daemon = await sites.connect('site', 'capture.h');
  const publisher = daemon.publisher({});
  const publish = async (numbers: readonly number[]): Promise<void> => {
    for (const n of numbers) {
      publisher.publish(event(n, 4_000)); // so that the hub slows the site down, too
      if (n % 10 === 9) await sleep(10);
    }
    expect(await publisher.flush(10_000)).toBe(true);
  };

  await publish(upTo(TOTAL / 3));
  await expect.poll(() => lastSeq(hub), { timeout: 20_000 }).toBe(TOTAL / 3);
  sites.link.set('cut');
  await publish(upTo((2 * TOTAL) / 3).slice(TOTAL / 3));
  expect(await lastSeq(hub)).toBe(TOTAL / 3);
  sites.link.set('up');
  await publish(upTo(TOTAL).slice((2 * TOTAL) / 3));
  await expect.poll(() => lastSeq(hub), { timeout: 60_000 }).toBe(TOTAL);
  expect(await readAll(hub)).toEqual(upTo(TOTAL));
  expect(await lastSeq(await sites.connect('site', 'root'))).toBe(TOTAL);

  const viewer = await sites.connect('hub', 'viewer.alice');
  const beats: string[] = [];
  viewer.subscribe('flowtag.status.>', ({ subject }) => beats.push(subject));
  await expect
    .poll(() => {
      daemon.publish('flowtag.status.capture.h', 'status.v1', Buffer.from('beat'));
      return beats[0];
    })
    .toBe('flowtag.status.capture.h');
});

it("a site publishes nothing at the hub but its daemons' heartbeats, and hears and changes nothing there", {
  timeout: 60_000,
}, async () => {
  const deny = 'deny_exports: ["flowtag.ev.>"]'; // what a site promises about itself is not what holds it back
  sites = await Sites.open({ changes: { [deny]: '' } });
  await sites.provision('hub');
  const hub = await sites.connect('hub', 'root');
  const rogue = await sites.connect('site', 'root');
  const [heardAtHub, heardAtSite]: [string[], string[]] = [[], []];
  hub.subscribe('>', ({ subject }) => heardAtHub.push(subject));
  rogue.subscribe('flowtag.>', ({ subject }) => heardAtSite.push(subject));
  const forged = [
    'flowtag.ev.kprobe.3.host-of-another-site',
    'flowtag.flow.host-b.shop',
    'flowtag.ledger.host-b',
    'flowtag.dead.sink.malformed',
    'flowtag.status.correlator.join-1',
    '$KV.FLOWTAG_CHECKPOINT.p.3',
    '$JS.hub.API.STREAM.PURGE.FLOWTAG_EV',
    '$JS.site-b.API.CONSUMER.CREATE.FLOWTAG_EV',
  ];
  const beats = () => heardAtHub.filter((subject) => subject === 'flowtag.status.capture.h').length;
  await expect
    .poll(
      () => {
        for (const subject of forged) rogue.publish(subject, '', Buffer.from('{}'));
        rogue.publish('flowtag.status.capture.h', '', Buffer.from('beat'));
        return beats();
      },
      { timeout: 10_000 },
    )
    .toBeGreaterThan(5);
  expect(heardAtHub.filter((subject) => forged.includes(subject) || subject.includes('PURGE'))).toEqual([]);
  hub.publish('flowtag.flow.secret.shop', '', Buffer.from('secret'));
  expect(await lastSeq(hub)).toBe(0);
  await sleep(300); // it would have been there by then
  expect(heardAtSite).not.toContain('flowtag.flow.secret.shop');
  await expect(
    rogue.request('$JS.hub.API.STREAM.INFO.FLOWTAG_EV', '', Buffer.from(''), 2_000),
  ).rejects.toMatchObject({ code: 'NO_RESPONDERS' });
});

it('a site cannot pass for another: neither by its domain nor by its certificate', {
  timeout: 60_000,
}, async () => {
  sites = await Sites.open({ changes: { 'domain: site-a': 'domain: site-b' } });
  await sites.provision('site', '--as-site');
  await sites.provision('hub', '--site', 'site-b');
  const hub = await sites.connect('hub', 'root');
  const publisher = (await sites.connect('site', 'capture.h')).publisher({});
  publisher.publish(event(1));
  expect(await publisher.flush(5_000)).toBe(true);
  await until('its domain is refused', () => REFUSED_DOMAIN.test(sites.log.site));
  await sleep(3_000); // a site that may is read within a second
  expect(await lastSeq(hub)).toBe(0);
  await sites.close();

  sites = await Sites.open({ certificate: 'site-x', user: 'site-a:@' });
  await until('it is refused', () => /leafnode.*Authorization Violation/i.test(sites.log.site));
  expect(sites.log.hub).not.toMatch(/Domain Mapping/);
  const { tlsCa } = sites.access('hub', 'root');
  const tls = { ca: readFileSync(tlsCa, 'utf8') };
  await expect(
    connect({ servers: sites.url('hub'), user: 'site-a', pass: '', tls, reconnect: false }),
    'its user at the door of the others',
  ).rejects.toThrow(/authorization violation/i);
});
