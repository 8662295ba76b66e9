// Members on a bucket in memory, with a clock of its own and a server that is late, forgets, and leaves out answers.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LeaseHolder, type LeaseStore } from '../../../services/runtime/bus-lease-holder.ts';
import { shareOf } from '../../../services/runtime/bus-lease-plan.ts';
import { BusError } from '../../../services/runtime/errors.ts';

const TTL_MS = 8_000;
const RENEW_MS = 2_000;
const NAMES = ['p0', 'p1', 'p2', 'p3', 'p4', 'p5'];

type Fate = 'works' | 'request lost' | 'answer lost';

class Bucket {
  nowMs = 0;
  /** Members that are dead for all to see. */
  readonly gone = new Set<string>();
  private readonly entries = new Map<string, { value: string; revision: number; untilMs: number }>();
  private revision = 0;

  /** All requests wait in `pending` until the test lets one of them go on. */
  store(ask: (work: () => unknown) => Promise<unknown>): LeaseStore {
    return {
      keys: () => ask(() => [...this.living().keys()]) as Promise<string[]>,
      get: (key) => ask(() => this.living().get(key)) as ReturnType<LeaseStore['get']>,
      put: (key, value, revision) =>
        ask(() => {
          if (revision !== undefined && (this.living().get(key)?.revision ?? 0) !== revision)
            return undefined;
          this.entries.set(key, { value, revision: ++this.revision, untilMs: this.nowMs + TTL_MS });
          return this.revision;
        }) as Promise<number | undefined>,
      remove: (key, revision) =>
        ask(() => {
          if (this.living().get(key)?.revision === revision) this.entries.delete(key);
        }) as Promise<void>,
    };
  }

  /** As a server whose disk is gone. */
  forget(): void {
    this.entries.clear();
  }

  private living() {
    for (const [key, { untilMs }] of this.entries) if (untilMs <= this.nowMs) this.entries.delete(key);
    return this.entries;
  }
}

class Member {
  readonly holder: LeaseHolder;
  readonly owned = new Set<string>();
  private pending: { work: () => unknown; done: (fate: Fate) => void }[] = [];
  private rounding = false;

  constructor(bucket: Bucket, id: string, names: readonly string[]) {
    const store = bucket.store(
      (work) =>
        new Promise((resolve, reject) => {
          const done = (fate: Fate): void => {
            const answer = fate === 'request lost' ? undefined : work();
            if (fate === 'works') resolve(answer);
            else reject(new BusError('TIMEOUT', fate));
          };
          this.pending.push({ work, done });
        }),
    );
    const events = {
      wanted: (self: string, members: readonly string[]) => shareOf(self, members, names),
      onTaken: (name: string) => void this.owned.add(name),
      onLost: (name: string) => void this.owned.delete(name),
      onRelease: async (name: string) => void this.owned.delete(name),
    };
    const isGone = (member: string): boolean => bucket.gone.has(member);
    const conditions = { ttlMs: TTL_MS, renewMs: RENEW_MS, nowMs: () => bucket.nowMs, isGone };
    this.holder = new LeaseHolder(store, 'test', id, events, conditions);
  }

  /** One request is answered, or a round is begun when none waits. */
  async step(fate: Fate, which: number): Promise<void> {
    if (this.pending.length > 0) this.pending.splice(which % this.pending.length, 1)[0]!.done(fate);
    else if (!this.rounding) {
      this.rounding = true;
      const over = (): void => {
        this.rounding = false;
      };
      this.holder.round().then(over, over);
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async settle(): Promise<void> {
    do await this.step('works', 0);
    while (this.rounding || this.pending.length > 0);
  }
}

const step = fc.record({
  who: fc.nat(2),
  fate: fc.oneof(
    { weight: 8, arbitrary: fc.constant<Fate>('works') },
    { weight: 1, arbitrary: fc.constantFrom<Fate>('request lost', 'answer lost') },
  ),
  which: fc.nat(10),
  passMs: fc.oneof(
    { weight: 10, arbitrary: fc.nat(300) },
    { weight: 1, arbitrary: fc.nat(10_000) }, // the process was stopped, or the link is slow
  ),
});

function membersOn(bucket: Bucket, names: readonly string[] = NAMES): Member[] {
  return ['a', 'b', 'c'].map((id) => new Member(bucket, id, names));
}

function expectOneOwner(members: readonly Member[], names: readonly string[] = NAMES): void {
  for (const name of names)
    expect(members.filter(({ holder }) => holder.holds(name)).length).toBeLessThanOrEqual(1);
}

it('has at most one owner for each name, whatever is late or lost, and each name has one in the end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 250 }), async (steps) => {
      const bucket = new Bucket();
      const members = membersOn(bucket);
      for (const { who, fate, which, passMs } of steps) {
        bucket.nowMs += passMs;
        await members[who]!.step(fate, which);
        expectOneOwner(members);
      }
      await calmDown(bucket, members);
      expect(members.flatMap(({ owned }) => [...owned]).sort()).toEqual(NAMES);
      const all = ['test-a', 'test-b', 'test-c'];
      for (const [at, { holder, owned }] of members.entries()) {
        expect([...owned].sort()).toEqual(shareOf(all[at]!, all, NAMES));
        for (const name of owned) expect(holder.holds(name)).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);

it('lets the others take over what a dead member held, not before its time', async () => {
  const bucket = new Bucket();
  const members = membersOn(bucket);
  await calmDown(bucket, members);
  const [dead, ...living] = members;
  const orphans = [...dead!.owned];
  for (const endMs = bucket.nowMs + TTL_MS - RENEW_MS; bucket.nowMs < endMs; bucket.nowMs += 500) {
    expect(living.flatMap(({ owned }) => [...owned]).filter((name) => orphans.includes(name))).toEqual([]);
    for (const one of living) await one.settle();
  }
  await calmDown(bucket, living);
  expect(living.flatMap(({ owned }) => [...owned]).sort()).toEqual(NAMES);
});

it('lets the others take over at once from a member that is dead for all to see', async () => {
  const bucket = new Bucket();
  const members = membersOn(bucket);
  await calmDown(bucket, members);
  bucket.gone.add('test-a');
  const living = members.slice(1);
  for (const one of living) await one.settle();
  expect(living.flatMap(({ owned }) => [...owned]).sort()).toEqual(NAMES);
});

it('gives everything back at a stop, for others to take at once', async () => {
  const bucket = new Bucket();
  const members = membersOn(bucket);
  await calmDown(bucket, members);
  const [leaving, ...staying] = members;
  const stopped = leaving!.holder.stop();
  for (let n = 0; n < 20; n++) await leaving!.step('works', 0);
  await stopped;
  for (let n = 0; n < 2; n++) for (const one of staying) await one.settle();
  expect(staying.flatMap(({ owned }) => [...owned]).sort()).toEqual(NAMES);
});

it('goes on with what it holds when the bucket was lost, and takes anew what had run out', async () => {
  const bucket = new Bucket();
  const one = new Member(bucket, 'a', ['x']);
  await one.settle();
  bucket.forget();
  bucket.nowMs += RENEW_MS;
  await one.settle();
  expect(one.holder.holds('x')).toBe(true);
  bucket.nowMs += TTL_MS;
  expect(one.holder.holds('x')).toBe(false);
  expect([...one.owned]).toEqual(['x']);
  const lost: string[] = [];
  one.owned.delete = (name) => lost.push(name) > 0;
  await one.settle();
  expect(lost).toEqual(['x']);
  expect(one.holder.holds('x')).toBe(true);
});

/** All requests answered, and time enough for everything to run out once. */
async function calmDown(bucket: Bucket, members: readonly Member[]): Promise<void> {
  for (const endMs = bucket.nowMs + 2 * TTL_MS; bucket.nowMs < endMs; bucket.nowMs += 500)
    for (const one of members) {
      await one.settle();
      expectOneOwner(members);
    }
}
