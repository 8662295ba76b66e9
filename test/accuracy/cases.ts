// The cases of the accuracy report: paths of test/targets/cases, and how to drive each.
import { existsSync, readFileSync } from 'node:fs';
import type { CasesOptions, Load } from '../support/targets.ts';

export interface Case {
  readonly name: string;
  /** Requests go to `<path>/<number>`; no other case has it. */
  readonly path: string;
  readonly load?: Pick<Load, 'tls' | 'allowErrors'>;
  readonly options?: CasesOptions;
  /** How long after the last answer the program may go on calling. */
  readonly tailMs?: number;
  /** Why recall cannot be complete without an opt-in; precision must be, in any case. */
  readonly outOfReach?: string;
}

export const CASES: readonly Case[] = [
  { name: 'fresh', path: '/fresh' },
  { name: 'slow', path: '/slow' },
  { name: 'pool', path: '/pool' },
  { name: 'slowpool', path: '/slowpool' },
  { name: 'two', path: '/two' },
  { name: 'post', path: '/post' },
  { name: 'limit', path: '/limit' },
  { name: 'tls', path: '/tls' },
  { name: 'h2', path: '/h2' },
  { name: 'h2post', path: '/h2post' },
  { name: 'raw', path: '/raw' },
  { name: 'rawpool', path: '/rawpool' },
  { name: 'fanout', path: '/fanout' },
  { name: 'nested/1', path: '/nested/1' },
  { name: 'nested/3', path: '/nested/3' },
  { name: 'nested/7', path: '/nested/7' },
  { name: 'nested/10', path: '/nested/10' },
  { name: 'dual', path: '/dual' },
  { name: 'v6', path: '/v6' },
  { name: 'refused', path: '/refused' },
  { name: 'async', path: '/async', tailMs: 500 },
  { name: 'late', path: '/late', tailMs: 3_500 },
  { name: 'panic', path: '/panic', load: { allowErrors: true } },
  { name: 'none', path: '/none' },
  { name: 'inbound h2', path: '/slowpool/h2', load: { tls: true }, options: { tls: true } },
  { name: '30k idle', path: '/nested/3/idle', options: { idleGoroutines: 30_000 } },
  { name: 'workers', path: '/workers', outOfReach: 'channel to goroutines that ran before the request' },
  { name: 'lazy', path: '/lazy', outOfReach: 'channel to goroutines that another request started' },
  { name: 'afterfunc', path: '/afterfunc', outOfReach: "time.AfterFunc: the runtime's timer starts it" },
];

/** Cases that this machine can run. */
export function possibleCases(): readonly Case[] {
  const addresses = '/proc/net/if_inet6'; // not there, or without a line, where IPv6 is off
  const hasIpv6 = existsSync(addresses) && readFileSync(addresses, 'utf8') !== '';
  return CASES.filter(({ name }) => hasIpv6 || name !== 'v6');
}

export function isOf({ path }: Case, requestPath: string): boolean {
  return requestPath.startsWith(`${path}/`) && /^\d+$/.test(requestPath.slice(path.length + 1));
}
