// Who should hold what, pure: rendezvous hashing. Every member computes the same answer from the list of members
// alone; when one comes or goes, only what it gets or held moves.

/** Keys of the lease bucket: `m.<member>` lives as long as its member, `l.<what>` as long as it is held. */
export const MEMBER = 'm.';
export const LEASE = 'l.';

export interface LeasePlan {
  /** Wanted and free. */
  readonly take: readonly string[];
  /** Held and no longer wanted. */
  readonly release: readonly string[];
  /** Wanted and held by somebody else. */
  readonly awaited: readonly string[];
}

/** Those of `names` for which `self` has the highest weight among the members, itself included. */
export function shareOf(self: string, members: readonly string[], names: readonly string[]): string[] {
  const others = members.filter((member) => member !== self);
  return names.filter((name) => others.every((other) => isBefore(self, other, name)));
}

/** `taken`: names that somebody holds; `held`: those that are held here. */
export function planLeases(
  wanted: readonly string[],
  taken: ReadonlySet<string>,
  held: ReadonlySet<string>,
): LeasePlan {
  const missing = wanted.filter((name) => !held.has(name));
  return {
    take: missing.filter((name) => !taken.has(name)),
    release: [...held].filter((name) => !wanted.includes(name)),
    awaited: missing.filter((name) => taken.has(name)),
  };
}

function isBefore(one: string, other: string, name: string): boolean {
  const [a, b] = [weight(one, name), weight(other, name)];
  return a === b ? one < other : a > b;
}

/** FNV-1a-32 with MurmurHash3's finalizer: without it names that differ in their last byte alone weigh alike. */
function weight(member: string, name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${member} ${name}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
