// Hostile messages on every subject of a fleet that goes on working: how many were refused, by whom, and what became of
// the flows of hosts that did nothing wrong.
import { setTimeout as sleep } from 'node:timers/promises';
import { unpack } from '../../schemas/codec.ts';
import { status } from '../../schemas/status.ts';
import {
  CHECKPOINT_BUCKET,
  DEAD_LETTER_STREAM,
  DEAD_LETTER_SUBJECTS,
  EVENT_STREAM,
  FLOW_STREAM,
  LEASE_BUCKET,
  SINK_BUCKET,
  STATUS_SUBJECTS,
} from '../../schemas/subjects.ts';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { BusError } from '../../services/runtime/errors.ts';
import { createLogger } from '../../services/runtime/log.ts';
import {
  API_TARGETS,
  hostileMessage,
  Random,
  STREAM_TARGETS,
  type Target,
} from '../support/hostile-messages.ts';
import { Observer } from './observer.ts';
import { peakMiB } from './program.ts';
import { type Host, Rig } from './rig.ts';
import { auditHosts, DRAIN_MS, SPOOL_BYTES } from './run-row.ts';

export interface HostilePlan {
  readonly messages: number;
  readonly seed: number;
}

export interface HostileOutcome {
  readonly seed: number;
  readonly sent: number;
  readonly refusedByCorrelator: number;
  readonly refusedBySink: number;
  /** Of the correlator and the sink, those that are not theirs to refuse included. */
  readonly taken: number;
  readonly answered: number;
  /** Not read by those who should, or refused and not set aside. */
  readonly unaccounted: number;
  /** Messages that must be refused, and were not. */
  readonly badTaken: number;
  /** Of hosts that did nothing wrong. */
  readonly flows: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly wrong: number;
  /** Positions, checkpoints and leases that were garbage when successors looked for them. */
  readonly positions: number;
  /** Services that did not live to the end. */
  readonly ended: number;
  readonly correlatorMiB: number;
  readonly sinkMiB: number;
  /** Characters that a terminal obeys, in what `flowtag observe -f` printed. */
  readonly unsafeCharacters: number;
  readonly linesPrinted: number;
}

const HOSTS = 2;
/** One in so many is a question, or a heartbeat; the others go to a stream. */
const QUESTION_EVERY = 50;
const HEARTBEAT_EVERY = 20;
const QUESTIONS_AT_ONCE = 16;
const ROUND = 500;
/** So that the stream discards nothing unread. */
const MOST_AHEAD = 20_000;
const SETTLE_MS = 120_000;
const MOST_MIB = 768;
/** Of load after the positions were spoiled. */
const SUCCESSOR_MS = 5_000;

export function hostileBreaches(outcome: HostileOutcome): string[] {
  const { unaccounted, badTaken, lost, duplicated, wrong, ended, unsafeCharacters } = outcome;
  const none = { unaccounted, badTaken, lost, duplicated, wrong, ended, unsafeCharacters };
  const more = Object.entries(none).filter(([, count]) => count !== 0);
  const large = [outcome.correlatorMiB, outcome.sinkMiB].filter((mib) => mib > MOST_MIB);
  return [
    ...more.map(([what, count]) => `${what}: ${count}, not 0`),
    ...large.map((mib) => `memory: ${mib} MiB, more than ${MOST_MIB}`),
    ...(outcome.linesPrinted === 0 ? ['observe printed nothing'] : []),
  ];
}

export async function runHostile({ messages, seed }: HostilePlan): Promise<HostileOutcome> {
  const rig = await Rig.open({ hosts: HOSTS });
  const bus = await connectBus({
    server: rig.url,
    name: 'hostile',
    log: createLogger('test', 'silent'),
  });
  const observers = (['compact', 'wide', 'json'] as const).map((format) => new Observer(rig.url, format));
  try {
    const counters = watchCounters(bus);
    const hosts = await Promise.all(Array.from({ length: HOSTS }, (_, n) => honestHost(rig, n)));
    const sent = await send(bus, counters, { messages, seed });
    await Promise.all(hosts.map((host) => rig.endHost(host)));
    const balance = await settle(bus, counters);
    const services = {
      ended: rig.missing(),
      correlatorMiB: Math.max(...rig.of('correlator').map(peakMiB)),
      sinkMiB: Math.max(...rig.of('sink').map(peakMiB)),
    };
    const positions = await spoilPositions(rig, bus, new Random(seed));
    const successor = await honestHost(rig, HOSTS);
    await sleep(SUCCESSOR_MS);
    await rig.endHost(successor);
    const audit = await auditHosts(rig, 'honest.', [...hosts, successor]);
    return {
      seed,
      sent: messages,
      ...balance,
      answered: sent.answered,
      badTaken:
        Math.max(0, sent.badEvents - balance.refusedByCorrelator) +
        Math.max(0, sent.badRows - balance.refusedBySink),
      flows: audit.flows,
      lost: audit.lostFlows + audit.lostRequests,
      duplicated: audit.duplicated,
      wrong: audit.wrong + audit.incomplete,
      ...services,
      positions,
      unsafeCharacters: observers.reduce((sum, { unsafe }) => sum + unsafe, 0),
      linesPrinted: Math.min(...observers.map(({ lines }) => lines)),
    };
  } finally {
    await Promise.all(observers.map((observer) => observer.close()));
    await bus.close();
    await rig.close();
  }
}

function honestHost(rig: Rig, n: number): Promise<Host> {
  const host = {
    host: `honest.${n}`,
    clockOffsetMs: 0,
    spoolBytes: SPOOL_BYTES,
    drainMs: DRAIN_MS,
    unruly: false,
  };
  return rig.startHost({ server: rig.url, ...host });
}

/** kill -9 of every correlator and sink; what they had written for their successors is garbage when these start. */
async function spoilPositions(rig: Rig, bus: Bus, random: Random): Promise<number> {
  const roles = ['correlator', 'sink'] as const;
  const killed = roles.flatMap((role) => rig.of(role).map((program) => ({ role, program })));
  await Promise.all(killed.map(({ program }) => program.end('SIGKILL')));
  let spoiled = 0;
  for (const bucket of [CHECKPOINT_BUCKET, SINK_BUCKET, LEASE_BUCKET])
    for (const subject of await bus.streamSubjects(`KV_${bucket}`, `$KV.${bucket}.>`)) {
      bus.publish(subject, '', hostileMessage(random, STREAM_TARGETS).data);
      spoiled++;
    }
  for (const { role } of killed) rig.start(role);
  return spoiled;
}

interface Sent {
  answered: number;
  /** Those that cannot be taken for good ones. */
  badEvents: number;
  badRows: number;
}

async function send(bus: Bus, counters: Counters, { messages, seed }: HostilePlan): Promise<Sent> {
  const random = new Random(seed);
  const publisher = bus.publisher({});
  const sent: Sent = { answered: 0, badEvents: 0, badRows: 0 };
  const questions: Promise<void>[] = [];
  for (let n = 1; n <= messages; n++) {
    const { subject, schema, data, isBad } = hostileMessage(random, targetsOf(n));
    if (n % QUESTION_EVERY === 0) {
      questions.push(ask(bus, subject, schema, data).then(() => void sent.answered++));
      if (questions.length >= QUESTIONS_AT_ONCE) await Promise.all(questions.splice(0));
    } else if (n % HEARTBEAT_EVERY === 0) bus.publish(subject, schema, data);
    else {
      publisher.publish({ subject, schema, data, messageId: `hostile.${seed}.${n}`, rows: 1 });
      if (isBad && subject.startsWith('flowtag.ev.')) sent.badEvents++;
      else if (isBad) sent.badRows++;
    }
    if (n % ROUND > 0) continue;
    if (!(await publisher.flush(SETTLE_MS))) throw new Error('the bus did not take hostile messages');
    const { lastSeq } = await bus.streamState(EVENT_STREAM);
    await until(() => lastSeq - counters.events() < MOST_AHEAD);
  }
  await Promise.all(questions);
  publisher.close();
  return sent;
}

/** Of a verb that nobody serves, the bus says so. Throws when there is no answer. */
async function ask(bus: Bus, subject: string, schema: string, data: Uint8Array): Promise<void> {
  try {
    await bus.request(subject, schema, data, SETTLE_MS);
  } catch (error) {
    if (!(error instanceof BusError && error.code === 'NO_RESPONDERS')) throw error;
  }
}

function targetsOf(n: number): readonly Target[] {
  if (n % QUESTION_EVERY === 0) return API_TARGETS;
  return n % HEARTBEAT_EVERY === 0 ? ['status'] : STREAM_TARGETS;
}

type Balance = Pick<HostileOutcome, 'refusedByCorrelator' | 'refusedBySink' | 'taken' | 'unaccounted'>;

/** What went into each stream, against what its readers say that they took and refused. */
async function settle(bus: Bus, counters: Counters): Promise<Balance> {
  let balance = await weigh(bus, counters);
  const deadline = performance.now() + SETTLE_MS;
  while (balance.unaccounted !== 0 && performance.now() < deadline) {
    await sleep(1_000);
    balance = await weigh(bus, counters);
  }
  return balance;
}

async function weigh(bus: Bus, counters: Counters): Promise<Balance> {
  const [events, rows, dead] = await Promise.all(
    [EVENT_STREAM, FLOW_STREAM, DEAD_LETTER_STREAM].map((stream) => bus.streamState(stream)),
  );
  const refusedByCorrelator = counters.refused.correlator.size;
  const refusedBySink = counters.refused.sink.size;
  const eventsIn = counters.events();
  const rowsIn = counters.sum('sink', /^messages_read$/);
  // A partition that changes hands without a last checkpoint is read again from the one before: those that are read
  // twice are counted twice, and set aside once.
  return {
    refusedByCorrelator,
    refusedBySink,
    taken: events!.lastSeq - refusedByCorrelator + rows!.lastSeq - refusedBySink,
    unaccounted:
      Math.max(0, events!.lastSeq - eventsIn) +
      Math.max(0, rows!.lastSeq - rowsIn) +
      Math.max(0, refusedByCorrelator + refusedBySink - dead!.lastSeq),
  };
}

interface Counters {
  /** Sequences in their streams of the messages that were set aside. */
  readonly refused: Readonly<Record<'correlator' | 'sink', ReadonlySet<string>>>;
  sum(role: string, name: RegExp): number;
  /** Messages of the event stream that correlators have dealt with. */
  events(): number;
}

/** From the heartbeats of those that are what they say: the hostile ones come on subjects of a capture. */
function watchCounters(bus: Bus): Counters {
  const latest = new Map<string, Readonly<Record<string, number>>>();
  bus.subscribe(STATUS_SUBJECTS, ({ subject, data }) => {
    const role = /^flowtag\.status\.(correlator|sink)\.[^.]+$/.exec(subject)?.[1];
    if (role === undefined) return;
    const beat = status.safeParse(unpack(data));
    if (beat.success && beat.data.role === role) latest.set(subject, beat.data.counters);
  });
  const refused = { correlator: new Set<string>(), sink: new Set<string>() };
  bus.subscribe(DEAD_LETTER_SUBJECTS, ({ subject, header }) => {
    refused[subject.split('.')[2] as 'correlator' | 'sink'].add(header('Flowtag-Dead-Seq')!);
  });
  const sum = (role: string, name: RegExp): number =>
    [...latest]
      .filter(([subject]) => subject.split('.')[2] === role)
      .flatMap(([, counters]) => Object.entries(counters))
      .reduce((total, [counter, count]) => (name.test(counter) ? total + count : total), 0);
  return {
    refused,
    sum,
    events: () => sum('correlator', /^(batches_in|repeated_batches|dead_letters_(?!dropped).*)$/),
  };
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  while (!holds()) {
    if (performance.now() > deadline)
      throw new Error(`the correlators are more than ${MOST_AHEAD} messages behind`);
    await sleep(50);
  }
}
