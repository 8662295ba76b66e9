// What must become of each socket event of a story, judged from the whole story and its times alone.
import { REQUEST_END, SOCKET_CLOSE, SOCKET_USE, VIA } from '../../../schemas/events.ts';
import { OWN_GOROUTINE, pathOf, type SocketStory, type Told } from './event-story.ts';

/** Path of the request that the flow is attributed to, the reason why it is to none, or why there is no flow. */
export type Fate = string;
export const NO_FLOW: readonly Fate[] = ['closed', 'inbound', 'merged'];

/** In the order in which they happened. */
export function fatesOf(told: readonly Told[], lateNs: bigint): Map<Told, Fate> {
  const fates = new Map<Told, Fate>();
  for (const one of told) if (one.socket !== undefined) fates.set(one, fateOf(one, told, fates, lateNs));
  return fates;
}

function fateOf(one: Told, told: readonly Told[], fates: ReadonlyMap<Told, Fate>, lateNs: bigint): Fate {
  const socket = one.socket!;
  const earlier = [...fates].filter(([other]) => other.story === one.story);
  if (socket.type === SOCKET_CLOSE) return 'closed';
  if (socket.type === SOCKET_USE && socket.older && socket.toClient) return 'inbound';
  const isKnown = earlier.some(
    ([other, fate]) =>
      fate !== 'closed' &&
      fate !== 'inbound' &&
      other.socket!.connection === socket.connection &&
      socket.connection > 0,
  );
  if (socket.type === SOCKET_USE && isKnown) return 'merged';
  const end = told.find(
    ({ story, row, socket }) => !socket && story === one.story && row.type === REQUEST_END,
  );
  if (end !== undefined && one.timeNs > end.timeNs && isOfAnother(socket))
    if (socket.inLoop || one.timeNs - end.timeNs > lateNs) return 'request_ended';
  return pathOf(one.story);
}

/** The work of a goroutine that is not the request's own, and knows the request by descent or by hand-over. */
function isOfAnother({ via, depth, goid }: SocketStory): boolean {
  if (goid === OWN_GOROUTINE) return false;
  return via === VIA.lineage || via === VIA.dial || via === VIA.channel || (via === VIA.pooled && depth > 0);
}
