// The smallest real operations on the bus, each by the code that the services and verbs run.
import { API_SCHEMA } from '../../schemas/api.ts';
import { pack } from '../../schemas/codec.ts';
import { API_QUEUE } from '../../schemas/permissions.ts';
import { encodeRows, FLOW_FIELDS, FLOW_SCHEMA } from '../../schemas/rows.ts';
import type { Status } from '../../schemas/status.ts';
import { apiSubject, flowSubject } from '../../schemas/subjects.ts';
import { readHistory } from '../../services/cli/flow-api.ts';
import { FlowFeed } from '../../services/cli/flow-feed.ts';
import { Strays } from '../../services/correlator/strays.ts';
import type { Outbound } from '../../services/runtime/bus.ts';
import { provisionStreams } from '../../services/runtime/bus-streams.ts';
import { startHeartbeat } from '../../services/runtime/heartbeat.ts';
import { processIdentity } from '../../services/runtime/process-identity.ts';
import { quiet } from '../support/quiet.ts';
import { sampleFlow } from '../support/sample-flow.ts';
import { LIMITS } from './fleet.ts';
import { askJetStream, eventually, heard, type Run, stored } from './stage.ts';

export const STREAMS = [
  'FLOWTAG_EV',
  'FLOWTAG_FLOW',
  'FLOWTAG_DEAD',
  'KV_FLOWTAG_CHECKPOINT',
  'KV_FLOWTAG_LEASE',
  'KV_FLOWTAG_SINK',
];
const NO_ROWS = { schema: API_SCHEMA, data: pack({ v: 1, rows: encodeRows(FLOW_FIELDS, []) }) };
const LEASES = '$KV.FLOWTAG_LEASE.';

let messages = 0;
export function message(subject: string): Outbound {
  const data = encodeRows(FLOW_FIELDS, [sampleFlow()]);
  return { subject, schema: FLOW_SCHEMA, data, messageId: `${++messages}`, rows: 1 };
}

/** Streams that are there already are only looked at. */
export const provisioning: Run = ({ bus }) => provisionStreams(bus, LIMITS);

export const provisioningAnew: Run = async (stage) => {
  for (const stream of STREAMS) await askJetStream(stage.root, `STREAM.DELETE.${stream}`);
  await provisioning(stage);
};

/** Of a version whose streams anybody could purge who reached them. */
export const provisioningOverOlder: Run = async (stage) => {
  const { root } = stage;
  await provisioningAnew({ ...stage, bus: root });
  for (const stream of STREAMS) {
    const { config } = await askJetStream(root, `STREAM.INFO.${stream}`);
    await askJetStream(root, `STREAM.DELETE.${stream}`);
    await askJetStream(root, `STREAM.CREATE.${stream}`, { ...(config as object), deny_purge: false });
  }
  await provisioning(stage);
};

export function publishing(subject: string): Run {
  return (stage) => stored(stage, stage.bus, message(subject));
}

export function beating(role: Status['role'], instance: string): Run {
  const health: Pick<Status, 'state' | 'notes' | 'counters'> = { state: 'ready', notes: [], counters: {} };
  const read = () => ({ role, instance, host: instance, startedNs: 1n, ...health });
  const ops = { address: undefined, watch: () => undefined, close: () => undefined };
  return (stage) =>
    heard(stage, stage.root, 'flowtag.status.>', () => startHeartbeat(stage.bus, ops, read).close());
}

/** The last message of `ofFilter`, and when something else is behind it, that nothing more of the filter is there. */
export function reading(stream: string, filter: string, ofFilter: string, behind?: string): Run {
  return async (stage) => {
    const { bus, root } = stage;
    const consumers = async () =>
      (await askJetStream(root, `CONSUMER.NAMES.${stream}`)).consumers as readonly string[];
    const before = await consumers();
    await stored(stage, root, message(ofFilter));
    const { lastSeq } = await root.streamState(stream);
    if (behind !== undefined) await stored(stage, root, message(behind));
    let [read, passed] = [false, behind === undefined];
    const reader = bus.reader({
      stream,
      filter,
      startSeq: lastSeq,
      log: quiet,
      onMessage: () => {
        read = true;
      },
      onPassed: () => {
        passed = true;
      },
    });
    await eventually(stage, () => read && passed).finally(() => reader.close());
    // A reader that stays would hold memory of the server, again with every hand-over.
    await eventually(stage, async () => (await consumers()).every((name) => before.includes(name)));
  };
}

export function positioning(bucket: string, key: string): Run {
  return async ({ bus }) => {
    const positions = await bus.positions(bucket);
    await positions.set(key, Buffer.from('here'), (await positions.get(key))?.revision ?? 0);
  };
}

/** From one that died, and back. */
export function leasing(role: 'correlator' | 'sink', name: string): Run {
  const dead = `${role}-gone-${processIdentity(0).replace(/_\d+_/, '_1_')}`;
  return async (stage) => {
    const { bus, root } = stage;
    await root.request(`${LEASES}l.${name}`, '', Buffer.from(dead), 2_000);
    const leases = bus.leases({
      role,
      host: 'here',
      wanted: () => [name],
      onTaken: () => undefined,
      onLost: () => undefined,
      onRelease: async () => undefined,
    });
    await eventually(stage, () => leases.holds(name)).finally(() => leases.close());
    const left = await root.streamSubjects('KV_FLOWTAG_LEASE', `${LEASES}>`);
    if (left.length > 0) throw new Error(`not given back: ${left}`);
  };
}

export const lookingForStrays: Run = async (stage) => {
  const { bus, root } = stage;
  const abort = new AbortController();
  const publisher = bus.publisher({});
  const positions = await bus.positions('FLOWTAG_CHECKPOINT');
  await stored(stage, root, message('flowtag.ev.astray'));
  const { lastSeq } = await root.streamState('FLOWTAG_DEAD');
  const looking = new Strays({ bus, log: quiet, positions, publisher }).run(abort.signal);
  try {
    await eventually(stage, async () => (await root.streamState('FLOWTAG_DEAD')).lastSeq > lastSeq);
  } finally {
    abort.abort();
    publisher.close();
    await looking;
  }
};

export const answeringLookUps: Run = async (stage) => {
  const { bus, viewer } = stage;
  const serving = bus.serve(apiSubject('flows'), API_QUEUE, async () => NO_ROWS);
  const ask = () => viewer.request(apiSubject('flows'), API_SCHEMA, pack({ v: 1, last: 1 }), 300);
  const isAnswered = () =>
    ask().then(
      () => true,
      () => false,
    );
  await eventually(stage, isAnswered).finally(() => serving.close());
};

export const askingLookUps: Run = async (stage) => {
  const { bus, root } = stage;
  const serving = root.serve(apiSubject('flows'), API_QUEUE, async () => NO_ROWS);
  await root.streamState('FLOWTAG_EV'); // what root subscribes is there before the answer to this
  let answers = 0;
  const asking = readHistory(bus, { v: 1, last: 1 }).then(() => answers++);
  await Promise.race([asking, eventually(stage, () => answers > 0)]).finally(() => serving.close());
};

export const watchingFlows: Run = async (stage) => {
  let flows = 0;
  const feed = new FlowFeed(
    stage.bus,
    () => flows++,
    () => undefined,
  );
  feed.release();
  const { subject, schema, data } = message(flowSubject('host-a', 'shop'));
  await eventually(stage, () => {
    stage.root.publish(subject, schema, data);
    return flows > 0;
  }).finally(() => feed.close());
};

/** Messages that root publishes. */
export function hearing(pattern: string, subject: string): Run {
  return (stage) => heard(stage, stage.bus, pattern, () => stage.root.publish(subject, '', Buffer.from('x')));
}
