// What a look-up asks for, told by its form. Pure.

import type { LookupQuery } from '../../schemas/api.ts';
import { formatEndpoint } from '../../schemas/ip-address.ts';
import { storedPath } from '../../schemas/request-path.ts';
import { parseEndpoint } from './endpoint.ts';
import { UsageError } from './usage-error.ts';

export type LookupKey = Pick<LookupQuery, 'ends' | 'traceId' | 'path' | 'communityId'>;

/** One or two ends, or one trace id (also inside a traceparent), path or Community ID. */
export function parseLookupKey(terms: readonly string[]): LookupKey {
  const [term, other] = terms;
  if (term === undefined) throw new UsageError('nothing to look up; give for example 10.0.0.7:40522');
  if (other !== undefined) return { ends: [parseEndpoint(term), parseEndpoint(other)] };
  if (term.startsWith('/')) return { path: storedPath(term) };
  if (/^1:[A-Za-z0-9+/]{27}=$/.test(term)) return { communityId: term };
  if (/^\d:[A-Za-z0-9+/=]{10,}$/.test(term))
    throw new UsageError(
      `"${term}" is not a Community ID of version 1; those are 1: and 28 characters, the last =`,
    );
  const trace = /^(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?$/i.exec(term);
  if (trace) return { traceId: trace[1]!.toLowerCase() };
  if (/^[0-9a-f-]{16,}$/i.test(term))
    throw new UsageError(`"${term}" is not a trace id; a trace id is 32 hexadecimal digits`);
  return { ends: [parseEndpoint(term)] };
}

/** The key in words, for messages. */
export function describeKey(key: LookupKey): string {
  if (key.ends) return key.ends.map(({ address, port }) => formatEndpoint(address, port)).join(' and ');
  if (key.traceId) return `trace id ${key.traceId}`;
  return key.path ? `path ${key.path}` : `Community ID ${key.communityId}`;
}
