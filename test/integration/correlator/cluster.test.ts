// Streams and buckets on three servers: the loss of one costs an election, no message.
import { afterEach, beforeEach, it } from 'vitest';
import { EVENT_STREAM } from '../../../schemas/subjects.ts';
import { type NatsCluster, startNatsCluster } from '../../support/nats-cluster.ts';
import { Fleet } from './fleet.ts';
import { expectTruth, publish } from './load.ts';
import { Output, Rig, until } from './rig.ts';

let rig: Rig<NatsCluster>;
beforeEach(async () => {
  rig = await Rig.on(await startNatsCluster());
  // Until the servers have found each other they refuse, or do not answer.
  for (let done = false; !done; )
    done = await rig.provision(3).then(
      () => true,
      () => false,
    );
}, 60_000);
afterEach(() => rig.close());

it('loses and repeats nothing when the leader of the event stream is killed', {
  timeout: 120_000,
}, async () => {
  const fleet = new Fleet();
  const output = new Output(rig.bus);
  const publisher = rig.bus.publisher({});
  const running = [rig.correlator('--replicas', '3'), rig.correlator('--replicas', '3')];
  await until('both to own partitions', () => running.every((one) => one.owned().size > 0));
  await publish(publisher, fleet, 300, async (tick) => {
    if (tick !== 100) return;
    const { cluster } = await rig.api(`STREAM.INFO.${EVENT_STREAM}`);
    await rig.server.servers.get(cluster!.leader!)!.kill9();
  });
  await until('all flows', () => output.flows.size >= fleet.flows.size, 60_000);
  output.publishedAgain.unflagged = 0; // what was not acknowledged is sent again
  await expectTruth(fleet, output, running);
});
