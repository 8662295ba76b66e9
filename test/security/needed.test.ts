// No entry of the permissions is superfluous: each one is taken away in turn, in the server's file of users as `flowtag
// enroll` writes it and with a reload, and an operation of that role no longer comes about, because the server refuses
// a subject of that very entry. Truth: the server's own log, and what comes about with all entries in place.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BUS_ROLES, type BusRole, permissionsOf } from '../../schemas/permissions.ts';
import { type Bus, connectBus } from '../../services/runtime/bus.ts';
import { quiet } from '../support/quiet.ts';
import { addRoot, SecureNats } from '../support/secure-nats.ts';
import { NAMES } from './fleet.ts';
import { OPERATIONS, type Operation } from './needs.ts';
import { provisioning } from './operations.ts';
import { eventually } from './stage.ts';

const PATIENCE_MS = 10_000;
/** For an operation to come about in spite of a refusal. */
const GRACE_MS = 600;
/** Stands in an entry's place: an empty list would allow everything. */
const NOTHING = '"taken.away"';

let server: SecureNats;
let root: Bus;
let viewer: Bus;
let usersFile: string;
let users: string;

const connect = (name: string, creds: string): Promise<Bus> =>
  connectBus({ server: server.url, creds, tlsCa: server.tlsCa, name, log: quiet });

beforeAll(async () => {
  server = await SecureNats.start([
    ...BUS_ROLES.map((role) => [role, NAMES[role]] as const),
    ['viewer', 'bob'],
  ]);
  usersFile = join(server.dir, 'flowtag-users.conf');
  const creds = addRoot(server.dir);
  users = readFileSync(usersFile, 'utf8');
  await server.reload();
  root = await connect('root', creds);
  viewer = await connect('bob', server.creds('viewer', 'bob'));
  await provisioning({ bus: root, root, viewer, isOver: () => false });
});

afterAll(async () => {
  await viewer?.close();
  await root?.close();
  await server?.stop();
});

/** Rejects when the operation did not come about: soon after `isRefused` says so. */
async function attempt(role: BusRole, { run }: Operation, isRefused: () => boolean): Promise<void> {
  const bus = await connect(role, server.creds(role, NAMES[role]));
  let endMs = performance.now() + PATIENCE_MS;
  const isOver = () => {
    if (isRefused()) endMs = Math.min(endMs, performance.now() + GRACE_MS);
    return performance.now() > endMs;
  };
  try {
    await run({ bus, root, viewer, isOver });
  } finally {
    await bus.close();
  }
}

/** Subjects that the server says it refused, since its log was that long. */
function refusedSince(length: number): string[] {
  return [...server.log.slice(length).matchAll(/ Violation - .*?Subject "([^"]+)"/g)].map(
    ([, subject]) => subject!,
  );
}

/** As `flowtag enroll` does it: the file, and a reload. */
async function take(role: BusRole, entry: string): Promise<void> {
  writeFileSync(usersFile, without(role, entry));
  await server.reload();
}

function without(role: BusRole, entry: string): string {
  const at = users.indexOf(`# ${role}.${NAMES[role]}\n`);
  const end = users.indexOf('} }\n', at);
  const before = users.slice(at, end);
  const after = before.replace(`"${entry}"`, NOTHING);
  expect(after, `${entry} stands in the file`).not.toBe(before);
  return users.slice(0, at) + after + users.slice(end);
}

function covers(entry: string, subject: string): boolean {
  const pattern = entry
    .split(' ')[0]!
    .replaceAll(/[$.]/g, '\\$&')
    .replaceAll('*', '[^.]+')
    .replace(/>$/, '.+');
  return new RegExp(`^${pattern}$`).test(subject);
}

test.each(BUS_ROLES)(
  '%s: each entry is named by one operation, and all of these come about',
  async (role) => {
    const { publish, subscribe } = permissionsOf(role, NAMES[role]);
    const operations = OPERATIONS[role];
    expect(operations.flatMap(({ needs }) => needs).sort()).toEqual([...publish, ...subscribe].sort());
    const length = server.log.length;
    for (const operation of operations)
      await expect(
        attempt(role, operation, () => false),
        operation.what,
      ).resolves.toBeUndefined();
    expect(refusedSince(length)).toEqual([]);
  },
);

test.each(BUS_ROLES)('%s: without any one entry an operation fails', async (role) => {
  for (const operation of OPERATIONS[role])
    for (const entry of operation.needs) {
      await take(role, entry);
      const length = server.log.length;
      const isRefused = () => refusedSince(length).some((subject) => covers(entry, subject));
      const outcome = await attempt(role, operation, isRefused).then(
        () => 'came about',
        () => 'did not come about',
      );
      expect(
        { entry, operation: operation.what, outcome, refused: isRefused() },
        `the server refused: ${refusedSince(length)}`,
      ).toEqual({ entry, operation: operation.what, outcome: 'did not come about', refused: true });
    }
});

test('what was published meanwhile is stored when an entry is given back', async () => {
  const { run } = OPERATIONS.capture[0]!;
  await take('capture', '_INBOX_capture.host-a.>');
  const length = server.log.length;
  const publishing = attempt('capture', { what: '', needs: [], run }, () => false);
  await eventually({ isOver: () => false }, () => refusedSince(length).length > 0);
  writeFileSync(usersFile, users);
  await server.reload();
  await expect(publishing).resolves.toBeUndefined();
});
