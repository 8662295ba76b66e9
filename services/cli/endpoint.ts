// One end of a connection, as people write it. Pure.
import type { Endpoint } from '../../schemas/api.ts';
import { formatAddress, parseAddress } from '../../schemas/ip-address.ts';
import { UsageError } from './usage-error.ts';

/** `10.0.0.7:40522` or `[2001:db8::1]:443`; the address comes back in the canonical form that flows carry. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d+)$/.exec(text);
  if (!match) throw new UsageError(explain(text));
  const [, bracketed, plain, digits] = match;
  const address = bracketed ?? plain!;
  if (bracketed !== undefined && address.includes('%'))
    throw new UsageError(`"${text}" names an interface; leave out "${address.slice(address.indexOf('%'))}"`);
  const bytes = parseAddress(address);
  if (!bytes || (bracketed !== undefined && !address.includes(':'))) throw new UsageError(explain(text));
  const port = Number(digits);
  if (port < 1 || port > 65_535)
    throw new UsageError(`"${text}" has port ${digits}; a port is between 1 and 65535`);
  return { address: formatAddress(bytes), port };
}

function explain(text: string): string {
  if (parseAddress(text))
    return text.includes(':')
      ? `"${text}" is an IPv6 address without brackets; give for example [${text}]:5432`
      : `"${text}" has no port; give for example ${text}:5432`;
  const name = /^([^:[\]]+):\d+$/.exec(text);
  if (name && !/^[\d.]+$/.test(name[1]!))
    return `"${text}" names a host; flows carry addresses, give for example 10.0.0.9:5432`;
  return `"${text}" is not address:port; give for example 10.0.0.7:40522 or [2001:db8::1]:443`;
}
