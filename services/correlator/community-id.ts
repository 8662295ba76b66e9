// Community ID version 1 of a TCP connection, seed 0: what Zeek, Suricata and others write for the same connection.
// Specification: github.com/corelight/community-id-spec.
import { hash } from 'node:crypto';
import { writeAddress } from './ip-bytes.ts';

const TCP = 6;
const source = Buffer.alloc(16);
const peer = Buffer.alloc(16);
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
  const width = writeAddress(localAddress, source, 0);
  if (width === 0 || writeAddress(peerAddress, peer, 0) !== width) return null;
  const message = width === 4 ? message4 : message6;
  const order = source.compare(peer, 0, width, 0, width);
  const swap = order > 0 || (order === 0 && localPort > peerPort);
  (swap ? peer : source).copy(message, 2, 0, width);
  (swap ? source : peer).copy(message, 2 + width, 0, width);
  message[2 + 2 * width] = TCP;
  message.writeUInt16BE(swap ? peerPort : localPort, 4 + 2 * width);
  message.writeUInt16BE(swap ? localPort : peerPort, 6 + 2 * width);
  return `1:${hash('sha1', message, 'base64')}`;
}
