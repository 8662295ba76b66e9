// Who is enrolled, and the part of nats-server's configuration that follows from it. Pure: public keys only.
import { z } from 'zod';
import {
  ACCOUNT_OF,
  BUS_ROLES,
  CROSSINGS,
  type Permissions,
  permissionsOf,
  sitePermissions,
} from '../../schemas/permissions.ts';
import { encodeToken } from '../../schemas/subjects.ts';

/** Stands in subjects and in a certificate. */
export const SITE_NAME = /^[A-Za-z0-9-]{1,63}$/;
const publicKey = z.string().regex(/^U[A-Z2-7]{55}$/);
const identity = z.strictObject({ role: z.enum(BUS_ROLES), name: z.string().max(255), publicKey });
export type Identity = z.infer<typeof identity>;

export const roster = z.strictObject({
  v: z.literal(1),
  /** A key of which nobody has the seed: nats-server lets everybody in when its list of users is empty. */
  nobody: publicKey,
  identities: z.array(identity).max(100_000),
  /** JetStream domains of sites, whose servers prove themselves by a certificate for that name. */
  sites: z.array(z.string().regex(SITE_NAME)).max(10_000).default([]),
});
export type Roster = z.infer<typeof roster>;

/** By role and name: at most one identity each. */
export function withIdentity(before: Roster, added: Identity): Roster {
  const { identities } = withoutIdentity(before, added);
  return { ...before, identities: [...identities, added].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)) };
}

export function withoutIdentity(before: Roster, gone: Pick<Identity, 'role' | 'name'>): Roster {
  return { ...before, identities: before.identities.filter((each) => keyOf(each) !== keyOf(gone)) };
}

export function withSite(before: Roster, site: string): Roster {
  return { ...before, sites: [...withoutSite(before, site).sites, site].sort() };
}

export function withoutSite(before: Roster, site: string): Roster {
  return { ...before, sites: before.sites.filter((each) => each !== site) };
}

/** `<role>.<token>`: names the identity in files, whatever its name is made of. */
export function keyOf({ role, name }: Pick<Identity, 'role' | 'name'>): string {
  return `${role}.${encodeToken(name)}`;
}

/** The same identities give the same text. */
export function serverConfig({ nobody, identities, sites }: Roster): string {
  return `# Written by flowtag enroll, which writes it anew: change nothing here.
accounts {
  ${ACCOUNT_OF.correlator} {
    jetstream: enabled
    exports: [${CROSSINGS.map(exported).join('')}
    ]
    users: [
      { nkey: ${nobody}, permissions: { publish: { deny: ">" }, subscribe: { deny: ">" } } }
${usersOf(ACCOUNT_OF.correlator, identities)}${sites.map(siteEntry).join('')}    ]
  }
${[ACCOUNT_OF.capture, ACCOUNT_OF.viewer].map((account) => outside(account, identities)).join('')}}
`;
}

function exported({ account, kind, subject }: (typeof CROSSINGS)[number]): string {
  return `\n      { ${kind}: ${quoted(subject)}, accounts: [${account}] }`;
}

function outside(account: string, identities: readonly Identity[]): string {
  const imports = CROSSINGS.filter((crossing) => crossing.account === account).map(
    ({ kind, subject }) =>
      `\n      { ${kind}: { account: ${ACCOUNT_OF.correlator}, subject: ${quoted(subject)} } }`,
  );
  return `  ${account} {
    imports: [${imports.join('')}
    ]
    users: [
${usersOf(account, identities)}    ]
  }
`;
}

function usersOf(account: string, identities: readonly Identity[]): string {
  return identities
    .filter(({ role }) => ACCOUNT_OF[role] === account)
    .map(userEntry)
    .join('');
}

function userEntry({ role, name, publicKey }: Identity): string {
  return entry(keyOf({ role, name }), `nkey: ${publicKey}`, permissionsOf(role, name));
}

/** Without a password: only the listener for leaf nodes lets it in, which takes the name from a certificate. */
function siteEntry(site: string): string {
  return entry(
    `site.${site}`,
    `user: "${site}", allowed_connection_types: [LEAFNODE]`,
    sitePermissions(site),
  );
}

function entry(comment: string, who: string, { publish, subscribe }: Permissions): string {
  return `      # ${comment}
      { ${who}, permissions: {
        publish: { allow: [${publish.map(quoted).join(', ')}] }
        subscribe: { allow: [${subscribe.map(quoted).join(', ')}] }
      } }
`;
}

/** Names are tokens by now (subjects.ts), so this never throws; if it did, nothing would be written. */
function quoted(subject: string): string {
  if (/^[\w$.*>= -]+$/.test(subject)) return `"${subject}"`;
  throw new Error(`not a subject that may stand in a configuration: ${JSON.stringify(subject)}`);
}
