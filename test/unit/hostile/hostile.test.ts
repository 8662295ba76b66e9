// What no sender would mean to send: each message is taken or refused with a reason, and nothing of it is ever thrown,
// carried into a checkpoint that cannot be read, or handed on to a store that cannot hold it.
import { beforeAll, expect, test } from 'vitest';
import { flowsQuery, lookupQuery } from '../../../schemas/api.ts';
import { decode } from '../../../schemas/codec.ts';
import { LEDGER_ANSWER_FIELDS, ledgerQuery } from '../../../schemas/ledger.ts';
import { decodeRows } from '../../../schemas/rows.ts';
import { readStatus, status } from '../../../schemas/status.ts';
import { balancesOf } from '../../../services/cli/balance.ts';
import { Fleet } from '../../../services/cli/fleet.ts';
import { memberJson, membersText } from '../../../services/cli/fleet-text.ts';
import { ledgerJson, ledgerText } from '../../../services/cli/ledger-text.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../services/correlator/checkpoint.ts';
import { Join } from '../../../services/correlator/join.ts';
import { Pipeline } from '../../../services/correlator/pipeline.ts';
import { planTakeover } from '../../../services/correlator/takeover.ts';
import type { BusMessage, Outbound } from '../../../services/runtime/bus.ts';
import { type Incoming, readMessage } from '../../../services/sink/message.ts';
import { decodePosition } from '../../../services/sink/position.ts';
import { encodeRowBinary } from '../../../services/sink/row-binary.ts';
import { type HostileMessage, hostileMessage, Random } from '../../support/hostile-messages.ts';

const SEED = 20_261_127;
const COUNT = 10_000;
const CREATED = '2026-07-01T00:00:00Z';
const RSS_MORE_BYTES = 512 << 20;
/** Text that capture wrote is not read again on the way: what the store says of it is soon enough, and counted. */
const MAY_BE_UNSTORABLE = /: (network\.\w+\.address|trace_id|span_id) cannot be stored|days apart/;
const SCHEMAS = { status, flows: flowsQuery, lookup: lookupQuery, ledger: ledgerQuery };
const LIMITS = {
  windowNs: 60n * 10n ** 9n,
  lateNs: 10n ** 10n,
  maxRequests: 1_000,
  maxBoots: 100,
  silentNs: 10n ** 14n,
};

let before = 0;
beforeAll(() => {
  before = process.memoryUsage().rss;
});

/** The message that went wrong, so that it can be looked at. */
function naming(message: HostileMessage, n: number): string {
  return `seed ${SEED}, message ${n}, ${message.target}, ${message.deed}: ${Buffer.from(message.data).toString('hex').slice(0, 4_000)}`;
}

function onBus(message: HostileMessage, seq: number): BusMessage {
  return { ...message, seq, header: () => undefined };
}

test(`correlator: each of ${COUNT} is taken or refused, and what it gives out can be stored`, {
  timeout: 120_000,
}, () => {
  const random = new Random(SEED);
  const join = new Join(LIMITS);
  const takeover = planTakeover(undefined, { firstSeq: 1, lastSeq: 0, created: CREATED });
  const failures: string[] = [];
  let current = '';
  const pipeline = new Pipeline(join, takeover, CREATED, (_, refusal, error) => {
    if (refusal.reason === 'failed') failures.push(`${(error as Error).stack}\n${current}`);
  });
  for (let n = 1; n <= COUNT; n++) {
    const message = hostileMessage(random, ['uprobe', 'kprobe']);
    current = naming(message, n);
    const refusedBefore = refusals(pipeline);
    const out = pipeline.process(onBus(message, n));
    if (message.isBad) expect(refusals(pipeline), current).toBe(refusedBefore + 1);
    for (const one of out.filter(({ subject }) => !subject.startsWith('flowtag.dead.')))
      expect(storable(one, n), current).toBe('');
    if (n % 500 === 0) expect(checkpointProblem(join, n), current).toBe('');
  }
  expect(failures).toEqual([]);
  const { counters } = join;
  expect(counters.batchesIn + counters.repeatedBatches + refusals(pipeline) + pipeline.held).toBe(COUNT);
  expect(process.memoryUsage().rss - before).toBeLessThan(RSS_MORE_BYTES);
});

test(`sink: each of ${COUNT} becomes rows that the store can hold, or is refused`, {
  timeout: 120_000,
}, () => {
  const random = new Random(SEED);
  for (let n = 1; n <= COUNT; n++) {
    const message = hostileMessage(random, ['flow', 'request', 'books']);
    const read = readMessage(onBus(message, n), 0);
    if (message.isBad && message.deed !== 'another subject')
      expect(read, naming(message, n)).toHaveProperty('reason');
    if (!('reason' in read)) encodeRowBinary(read.table, [read]);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(RSS_MORE_BYTES);
});

test(`heartbeats, questions and positions: none of ${COUNT} is thrown`, { timeout: 120_000 }, () => {
  const random = new Random(SEED);
  for (let n = 1; n <= COUNT; n++) {
    const message = hostileMessage(random, ['status', 'flows', 'lookup', 'ledger']);
    const schema = SCHEMAS[message.target as keyof typeof SCHEMAS];
    const read = decode(schema, message.data);
    if (message.isBad && !message.deed.startsWith('another s'))
      expect(typeof read, naming(message, n)).toBe('string');
    decodePosition(message.data);
    decodeCheckpoint(message.data);
  }
  expect({}).not.toHaveProperty('polluted');
});

test(`command line: none of ${COUNT} is thrown, and nothing that a terminal obeys is printed`, {
  timeout: 120_000,
}, () => {
  const random = new Random(SEED);
  const fleet = new Fleet();
  for (let n = 1; n <= COUNT; n++) {
    const message = hostileMessage(random, ['books', 'status']);
    const beat = readStatus(message);
    if (beat) fleet.accept(beat);
    const rows = message.target === 'books' ? decodeRows(LEDGER_ANSWER_FIELDS, message.data) : [];
    if (message.isBad && !message.deed.startsWith('another s') && message.target === 'books')
      expect(typeof rows, naming(message, n)).toBe('string');
    if (typeof rows === 'string') continue;
    const balances = balancesOf(rows);
    const told = [...ledgerText(balances, true), ...balances.map(ledgerJson)];
    expect(told.filter(isUnsafe), naming(message, n)).toEqual([]);
    if (n % 500 > 0) continue;
    const members = fleet.members(rows, 0n);
    expect([...membersText(members), ...members.map(memberJson)].filter(isUnsafe)).toEqual([]);
  }
});

/** Control, format and separator characters, private ones, and halves of pairs. */
function isUnsafe(line: string): boolean {
  return /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u.test(line);
}

function refusals(pipeline: Pipeline): number {
  return Object.values(pipeline.refused).reduce((sum, count) => sum + count, 0);
}

function storable(out: Outbound, seq: number): string {
  const message: Incoming = { ...out, seq, header: (name) => out.headers?.[name] };
  const read = readMessage(message, 0);
  return 'reason' in read && !MAY_BE_UNSTORABLE.test(read.problem) ? read.problem : '';
}

function checkpointProblem(join: Join, seq: number): string {
  const position = { created: CREATED, emitFrom: seq, replayFrom: seq };
  const { bytes } = encodeCheckpoint(position, (most) => join.state(seq, most), 1_000);
  const read = decodeCheckpoint(bytes);
  return typeof read === 'string' ? read : '';
}
