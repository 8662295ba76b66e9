// Community ID version 1 of a TCP connection, seed 0: what Zeek, Suricata and others write for the same connection.
// Specification: github.com/corelight/community-id-spec.
import { hash } from 'node:crypto';
import { isMapped, parseAddress } from '../../schemas/ip-address.ts';

const TCP = 6;
// seed (2), address, address, protocol (1), padding (1), port (2), port (2), of IPv4 and of IPv6
const message4 = Buffer.alloc(16);
const message6 = Buffer.alloc(40);

/** The same for both directions. Null when an address is not one or the families differ. */
export function communityId(
  localAddress: string,
  localPort: number,
  peerAddress: string,
  peerPort: number,
): string | null {
  const local = parseAddress(localAddress);
  const peer = parseAddress(peerAddress);
  if (!local || !peer || isMapped(local) !== isMapped(peer)) return null;
  const [message, width] = isMapped(local) ? [message4, 4] : [message6, 16];
  const order = Buffer.compare(local, peer);
  const swap = order > 0 || (order === 0 && localPort > peerPort);
  message.set((swap ? peer : local).subarray(-width), 2);
  message.set((swap ? local : peer).subarray(-width), 2 + width);
  message[2 + 2 * width] = TCP;
  message.writeUInt16BE(swap ? peerPort : localPort, 4 + 2 * width);
  message.writeUInt16BE(swap ? localPort : peerPort, 6 + 2 * width);
  return `1:${hash('sha1', message, 'base64')}`;
}
