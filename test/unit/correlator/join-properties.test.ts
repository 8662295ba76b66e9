import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SOCKET_CLOSE } from '../../../schemas/events.ts';
import type { FinishedRequest, Flow } from '../../../schemas/rows.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../services/correlator/checkpoint.ts';
import { Join, type JoinLimits } from '../../../services/correlator/join.ts';
import { pathOf, type StreamMessage, stories, tell, toMessages } from './event-story.ts';

const LIMITS: JoinLimits = { windowNs: 1_000_000n, maxRequests: 1_000, maxBoots: 10, silentNs: 1_000_000n };
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
  it('gives the same flows for every order that keeps a start before what it caused', () => {
    fc.assert(
      fc.property(stories, draws, cuts, draws, cuts, (told, order1, cuts1, order2, cuts2) => {
        const [one, other] = [tell(told, order1), tell(told, order2)].map((list, i) =>
          run(toMessages(list, i === 0 ? cuts1 : cuts2, false), new Join(LIMITS)).flows.map(timeless),
        );
        expect(sortById(one!)).toEqual(sortById(other!));
      }),
      { numRuns: 150 },
    );
  });

  it('gives exactly one flow for each connect and use, to the request of the same host, boot and process', () => {
    fc.assert(
      fc.property(stories, draws, cuts, (told, order, cutSet) => {
        const list = tell(told, order);
        const { flows } = run(toMessages(list, cutSet, false), new Join(LIMITS));
        const events = list.filter(({ kind, row }) => kind === 'kprobe' && row.type !== SOCKET_CLOSE);
        expect(flows.map((flow) => flow['url.path'])).toEqual(events.map(({ story }) => pathOf(story)));
        expect(flows.map((flow) => flow['process.pid'])).toEqual(events.map(({ story }) => story.pid));
        expect(new Set(flows.map((flow) => flow['flowtag.flow.id'])).size).toBe(events.length);
        const none = flows.filter((flow) => flow['flowtag.attribution.verdict'] === 'none');
        expect(none).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('gives one flow each also when starts are lost, and never another request', () => {
    fc.assert(
      fc.property(stories, draws, cuts, fc.nat({ max: 3 }), (told, order, cutSet, lose) => {
        const list = tell(told, order);
        const heard = list.filter(
          ({ row, story }) => row.type !== 1 || story.id % 4 > lose || 'eventId' in row,
        );
        const { flows } = run(toMessages(heard, cutSet, false), new Join(LIMITS));
        const events = list.filter(({ kind, row }) => kind === 'kprobe' && row.type !== SOCKET_CLOSE);
        expect(flows.map((flow) => flow['url.path'] ?? flow['flowtag.attribution.reason'])).toEqual(
          events.map(({ story }) => (story.id % 4 > lose ? pathOf(story) : 'lost_event')),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('remembers no more requests than allowed, counts what falls off, and still gives one flow each', () => {
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
          const { fallenOff, flowsOut, closes, unattributed } = join.counters;
          expect(join.size + fallenOff).toBe(told.length);
          expect(flows).toBe(flowsOut);
          expect(flows + closes).toBe(list.filter(({ kind }) => kind === 'kprobe').length);
          expect(unattributed.lost_event + unattributed.no_request).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('goes on from a checkpoint as if nothing had happened', () => {
    const limits = fc.record({
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

/** Times are positions in the stream here, and differ with the order. */
function timeless(flow: Flow): Partial<Flow> {
  return { ...flow, time: null, 'flowtag.request.start': null };
}

function sortById(flows: readonly Partial<Flow>[]): Partial<Flow>[] {
  return [...flows].sort((a, b) => (a['flowtag.flow.id']! < b['flowtag.flow.id']! ? -1 : 1));
}
