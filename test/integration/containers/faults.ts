// What happens to a part of a fleet that runs in containers, and passes by.
import { setTimeout as sleep } from 'node:timers/promises';
import { docker, shell } from '../../support/docker.ts';

/** Where the part is: its container, and by which name the others find it on which network. */
export interface Place {
  readonly id: string;
  readonly network: string;
  readonly alias: string;
}

const AWAY_MS = 2_000;
const SLOW_MS = 4_000;
/** A fraction of what the load needs; what does not fit into 200 ms of waiting is dropped. */
const SLOW_LINK = 'tbf rate 256kbit burst 4kb latency 200ms';

/** As a crash of its machine, which comes back. */
export async function kill({ id }: Place): Promise<void> {
  await docker('kill', '--signal', 'KILL', id);
  await sleep(AWAY_MS);
  await docker('start', id);
}

/** It is there and does nothing, for a while. */
export async function freeze({ id }: Place): Promise<void> {
  await docker('pause', id);
  await sleep(AWAY_MS);
  await docker('unpause', id);
}

/** Its network cable is pulled, and put back. */
export async function unplug({ id, network, alias }: Place): Promise<void> {
  await docker('network', 'disconnect', network, id);
  await sleep(AWAY_MS);
  await docker('network', 'connect', '--alias', alias, network, id);
}

/** What it sends goes over a slow line, for a while. How many packets had to wait or were dropped. */
export async function slow({ id }: Place): Promise<number> {
  const pid = await docker('inspect', '--format', '{{.State.Pid}}', id);
  const qdisc = (rest: string) =>
    shell(`nsenter --net --target ${pid.trim()} tc -statistics -json qdisc ${rest}`);
  await qdisc(`add dev eth0 root ${SLOW_LINK}`);
  await sleep(SLOW_MS);
  const [{ overlimits }] = JSON.parse(await qdisc('show dev eth0'));
  await qdisc('delete dev eth0 root');
  return overlimits;
}

/** How its main process ended after SIGTERM. */
export async function terminate({ id }: Place): Promise<number> {
  await docker('kill', '--signal', 'TERM', id);
  return Number(await docker('wait', id));
}
