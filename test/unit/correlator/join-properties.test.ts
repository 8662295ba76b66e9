import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REQUEST_START } from '../../../schemas/events.ts';
import type { FinishedRequest, Flow } from '../../../schemas/rows.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../services/correlator/checkpoint.ts';
import { bootPrefix } from '../../../services/correlator/ids.ts';
import { Join, type JoinLimits } from '../../../services/correlator/join.ts';
import { pathOf, type StreamMessage, stories, type Told, tell, toMessages } from './event-story.ts';
import { type Fate, fatesOf, NO_FLOW } from './story-truth.ts';

const LIMITS: JoinLimits = {
  windowNs: 1_000_000n,
  lateNs: 1_000_000n,
  maxRequests: 1_000,
  maxBoots: 10,
  silentNs: 1_000_000n,
};
/** Events are 10 ns apart. */
const lateNs = fc.bigInt({ min: 0n, max: 400n });
const draws = fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 60 });
const cuts = fc.array(fc.nat({ max: 200 }), { maxLength: 60 }).map((list) => new Set(list));

interface Rows {
  readonly flows: Flow[];
  readonly requests: FinishedRequest[];
}

function run(messages: readonly StreamMessage[], join: Join): Rows {
  const rows: Rows = { flows: [], requests: [] };
  for (const { host, batch, seq } of messages) {
    const joined = join.accept(host, batch, seq);
    rows.flows.push(...joined.flows);
    rows.requests.push(...joined.requests);
  }
  return rows;
}

describe('Join, on any history', () => {
  it('gives the same flows in whatever drains the events come', () => {
    fc.assert(
      fc.property(stories, draws, cuts, cuts, (told, order, cuts1, cuts2) => {
        const list = tell(told, order);
        const [one, other] = [cuts1, cuts2].map(
          (cutSet) => run(toMessages(list, cutSet, false), new Join(LIMITS)).flows,
        );
        expect(sortById(one!)).toEqual(sortById(other!));
      }),
      { numRuns: 150 },
    );
  });

  it('gives one flow for each request and connection, to the request of the same host, boot and process', () => {
    fc.assert(
      fc.property(stories, draws, cuts, lateNs, (told, order, cutSet, late) => {
        const list = tell(told, order);
        const join = new Join({ ...LIMITS, lateNs: late });
        const { flows } = run(toMessages(list, cutSet, false), join);
        const fates = fatesOf(list, late);
        expect(flowsById(flows)).toEqual(expectedById(fates));
        expect(
          flows.filter(({ 'process.pid': pid, 'url.path': path }) => path && !path.includes(`/${pid}/`)),
        ).toEqual([]);
        expect(new Set(flows.map((flow) => flow['flowtag.flow.id'])).size).toBe(flows.length);
        const count = (fate: Fate) => [...fates.values()].filter((one) => one === fate).length;
        expect(join.counters).toMatchObject({
          closes: count('closed'),
          usesMerged: count('merged'),
          inboundUses: count('inbound'),
          flowsOut: flows.length,
        });
        expect(join.counters.unattributed.request_ended).toBe(count('request_ended'));
        expect(booksOf(join)).toEqual(expectedBooks(list, fates));
      }),
      { numRuns: 300 },
    );
  });

  it('says of a finished request how many flows it had been given', () => {
    fc.assert(
      fc.property(stories, draws, (told, order) => {
        const list = tell(told, order);
        // One drain holds all of it: nothing that it caused comes after its row.
        const { requests } = run(toMessages(list, new Set(), true), new Join(LIMITS));
        const fates = [...fatesOf(list, LIMITS.lateNs)];
        // A boot says how far it is with its socket events.
        const said = new Set(fates.map(([{ story }]) => story.place));
        const expected = told
          .filter(({ endAfter, place }) => endAfter !== undefined && said.has(place))
          .map((story) => [pathOf(story), fates.filter(([, fate]) => fate === pathOf(story)).length]);
        expect(new Map(requests.map((row) => [row['url.path'], row['flowtag.request.flows']]))).toEqual(
          new Map(expected as [string, number][]),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('gives one flow each also when starts are lost, and never another request', () => {
    fc.assert(
      fc.property(stories, draws, cuts, fc.nat({ max: 3 }), (told, order, cutSet, lose) => {
        const list = tell(told, order);
        const isLost = ({ story }: Told) => story.id % 4 <= lose;
        const heard = list.filter((one) => one.row.type !== REQUEST_START || one.socket || !isLost(one));
        const { flows } = run(toMessages(heard, cutSet, false), new Join(LIMITS));
        const fates = [...fatesOf(list, LIMITS.lateNs)].map(([one, fate]): [Told, Fate] => [
          one,
          isLost(one) && fate !== 'closed' ? 'lost_event' : fate,
        ]);
        expect(flowsById(flows)).toEqual(expectedById(new Map(fates)));
      }),
      { numRuns: 150 },
    );
  });

  it('remembers no more requests than allowed, counts what falls off, and accounts for every event', () => {
    fc.assert(
      fc.property(
        stories,
        draws,
        cuts,
        fc.integer({ min: 1, max: 5 }),
        (told, order, cutSet, maxRequests) => {
          const list = tell(told, order);
          const join = new Join({ ...LIMITS, maxRequests });
          let flows = 0;
          for (const { host, batch, seq } of toMessages(list, cutSet, false)) {
            flows += join.accept(host, batch, seq).flows.length;
            expect(join.size).toBeLessThanOrEqual(maxRequests);
          }
          const { fallenOff, flowsOut, closes, usesMerged, inboundUses, unattributed } = join.counters;
          expect(join.size + fallenOff).toBe(told.length);
          expect(flows).toBe(flowsOut);
          expect(flows + closes + usesMerged + inboundUses).toBe(
            list.filter(({ socket }) => socket !== undefined).length,
          );
          expect(unattributed.lost_event + unattributed.no_request).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('goes on from a checkpoint as if nothing had happened', () => {
    const limits = fc.record({
      lateNs,
      windowNs: fc.bigInt({ min: 0n, max: 800n }),
      maxRequests: fc.constantFrom(3, 8, 1_000),
    });
    fc.assert(
      fc.property(stories, draws, cuts, limits, fc.nat(), fc.nat(), (told, order, cutSet, some, at, back) => {
        const messages = toMessages(tell(told, order), cutSet, true);
        const emitFrom = 1 + (at % (messages.length + 1));
        const replayFrom = 1 + (back % emitFrom);
        const first = new Join({ ...LIMITS, ...some });
        run(messages.slice(0, emitFrom - 1), first);
        const second = new Join({ ...LIMITS, ...some });
        second.resume(throughCheckpoint(first, emitFrom, replayFrom));
        const rebuilt = run(messages.slice(replayFrom - 1, emitFrom - 1), second);
        expect(rebuilt).toEqual({ flows: [], requests: [] });
        second.resumed();
        const rest = messages.slice(emitFrom - 1);
        expect(run(rest, second)).toEqual(run(rest, first));
        expect(booksOf(second)).toEqual(booksOf(first));
        expect(second.counters.lostBatches + second.counters.repeatedBatches).toBe(0);
      }),
      { numRuns: 400 },
    );
  });
});

function throughCheckpoint(join: Join, emitFrom: number, replayFrom: number) {
  const { bytes } = encodeCheckpoint(
    { created: 'now', emitFrom, replayFrom },
    (most) => join.state(replayFrom, most),
    1_000,
  );
  const decoded = decodeCheckpoint(bytes);
  if (typeof decoded === 'string') throw new Error(decoded);
  expect(decoded).toMatchObject({ created: 'now', emitFrom, replayFrom });
  return decoded.join;
}

/** What the join has booked, by host and boot, and in brief. */
function booksOf(join: Join): Map<string, Record<string, number>> {
  const { boots } = join.state(0, 0);
  return new Map(
    boots.map(({ host, boot, books }) => {
      const { counts } = books[0]!;
      const { flows = 0, merged = 0, inbound = 0, closes = 0 } = counts;
      const received = (counts['received.uprobe'] ?? 0) + (counts['received.kprobe'] ?? 0);
      return [`${host} ${boot}`, { flows, merged, inbound, closes, received }];
    }),
  );
}

function expectedBooks(
  list: readonly Told[],
  fates: ReadonlyMap<Told, Fate>,
): Map<string, Record<string, number>> {
  const books = new Map<string, Record<string, number>>();
  for (const told of list) {
    const place = `${told.story.place.host} ${told.story.place.boot}`;
    const counts = books.get(place) ?? { flows: 0, merged: 0, inbound: 0, closes: 0, received: 0 };
    books.set(place, counts);
    counts.received!++;
    const fate = fates.get(told);
    if (fate === undefined) continue;
    counts[fate === 'closed' ? 'closes' : NO_FLOW.includes(fate) ? fate : 'flows']!++;
  }
  return books;
}

/** Of each flow, by host, boot and event: the request's path, or the reason why there is none. */
function flowsById(flows: readonly Flow[]): Map<string, string | null> {
  return new Map(
    flows.map((flow) => [
      flow['flowtag.flow.id']!,
      flow['flowtag.attribution.verdict'] === 'none' ? flow['flowtag.attribution.reason'] : flow['url.path'],
    ]),
  );
}

function expectedById(fates: ReadonlyMap<Told, Fate>): Map<string, Fate> {
  const flows = [...fates].filter(([, fate]) => !NO_FLOW.includes(fate));
  return new Map(
    flows.map(([{ story, row }, fate]) => [
      bootPrefix(story.place.host, story.place.boot) + Number(row.eventId).toString(16).padStart(16, '0'),
      fate,
    ]),
  );
}

function sortById(flows: readonly Flow[]): Flow[] {
  return [...flows].sort((a, b) => (a['flowtag.flow.id']! < b['flowtag.flow.id']! ? -1 : 1));
}
