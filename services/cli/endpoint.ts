// One end of a connection, as people write it. Pure (node:net only tells the address families apart).
import { isIP, isIPv4, isIPv6 } from 'node:net';
import type { Endpoint } from '../../schemas/api.ts';
import { UsageError } from './usage-error.ts';

/** `10.0.0.7:40522` or `[2001:db8::1]:443`; the address comes back in the canonical form that flows carry. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d+)$/.exec(text);
  if (!match) throw new UsageError(explain(text));
  const [, bracketed, plain, digits] = match;
  const address = bracketed ?? plain!;
  if (bracketed !== undefined && address.includes('%'))
    throw new UsageError(`"${text}" names an interface; leave out "${address.slice(address.indexOf('%'))}"`);
  if (bracketed === undefined ? !isIPv4(address) : !isIPv6(address)) throw new UsageError(explain(text));
  const port = Number(digits);
  if (port < 1 || port > 65_535)
    throw new UsageError(`"${text}" has port ${digits}; a port is between 1 and 65535`);
  return { address: canonicalAddress(address), port };
}

/** RFC 5952 text of an IPv6 address, IPv4-mapped ones as IPv4; IPv4 as it is. */
export function canonicalAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  // The URL standard's serializer is RFC 5952, except that it has no dotted form for mapped addresses.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical);
  if (!mapped) return canonical;
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** `10.0.0.7:40522`, `[::1]:80`. */
export function formatEndpoint(address: string, port: number | string): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function explain(text: string): string {
  if (isIPv4(text)) return `"${text}" has no port; give for example ${text}:5432`;
  if (isIPv6(text)) return `"${text}" is an IPv6 address without brackets; give for example [${text}]:5432`;
  const name = /^([^:[\]]+):\d+$/.exec(text);
  if (name && !/^[\d.]+$/.test(name[1]!))
    return `"${text}" names a host; flows carry addresses, give for example 10.0.0.9:5432`;
  return `"${text}" is not address:port; give for example 10.0.0.7:40522 or [2001:db8::1]:443`;
}
