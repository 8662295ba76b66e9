// The text of a credential file: who its holder is on the bus, and the secret that proves it. Pure.
import { z } from 'zod';
import { BUS_ROLES, type BusRole } from '../../schemas/permissions.ts';
import { decodeToken, encodeToken } from '../../schemas/subjects.ts';

export interface Credential {
  readonly role: BusRole;
  readonly name: string;
  /** NKey seed of a user: the private key. Never shown, logged, or given to another process. */
  readonly seed: string;
}

const fields = z.strictObject({
  role: z.enum(BUS_ROLES),
  name: z.string(),
  seed: z.string().regex(/^SU[A-Z2-7]{56}$/, 'is not the seed of a user'),
});

export function formatCredential({ role, name, seed }: Credential): string {
  return (
    '# flowtag credential: who holds this file is this identity on the bus. Keep it to its owner alone (mode 0600).\n' +
    `role: ${role}\nname: ${encodeToken(name)}\nseed: ${seed}\n`
  );
}

/** The credential, or what is wrong with the text, without any of its secret. */
export function parseCredential(text: string): Credential | string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const read = fields.safeParse(Object.fromEntries(lines.map(fieldOf)));
  if (!read.success) return `${read.error.issues[0]!.path.join('.') || 'it'} is not as it should be`;
  const name = decodeToken(read.data.name);
  return name === undefined ? 'name is not as it should be' : { ...read.data, name };
}

function fieldOf(line: string): [string, string] {
  const at = line.indexOf(':');
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}
