// `flowtag enroll`: makes an identity: a credential for its holder, and the entry that lets the server know it.
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { BUS_ROLES, type BusRole } from '../../schemas/permissions.ts';
import { createKey } from '../runtime/bus.ts';
import { formatCredential } from '../runtime/credential.ts';
import { FlowtagError } from '../runtime/errors.ts';
import {
  type Identity,
  keyOf,
  SITE_NAME,
  withIdentity,
  withoutIdentity,
  withoutSite,
  withSite,
} from './enrolled.ts';
import { changeRoster, readRoster } from './enrolled-dir.ts';
import { escapeText } from './escape.ts';
import { UsageError } from './usage-error.ts';
import type { RunVerb, VerbContext } from './verb.ts';

interface EnrollOptions {
  readonly role: BusRole | 'site';
  readonly dir?: string;
  readonly out?: string;
  readonly rotate?: true;
  readonly revoke?: true;
  readonly list?: true;
}

const MAX_NAME_BYTES = 255; // of --host
const MAX_FILE_NAME = 200;

export function addEnroll(program: Command, run: RunVerb): void {
  program
    .command('enroll')
    .summary('credentials for hosts, services and people; whom the NATS server lets in')
    .description(
      'Make a credential, and the entry by which the NATS server knows it and what it may do. Without --role: of the capture daemon of that host.',
    )
    .argument('[name]', 'the host as its daemon names it (--host), else any name')
    .addOption(
      new Option('--role <role>', 'what it is for').choices([...BUS_ROLES, 'site']).default('capture'),
    )
    .option('--out <file>', 'where the credential is written (default: in the directory)')
    .option('--rotate', 'a new key in place of the one that it has')
    .option('--revoke', 'its key is no longer let in')
    .option('--list', 'who is enrolled: role, name and public key')
    .option('--dir <dir>', 'where identities are kept (default: enrolled in the data directory)')
    .addHelpText(
      'after',
      '\nExamples:\n  flowtag enroll web-1                      the capture daemon of host web-1\n  flowtag enroll --role viewer alice        a person at the command line\n  flowtag enroll --role site site-a         the server of a site (infra/nats/leaf-node)\n  flowtag enroll --rotate web-1             a new key; the daemon takes it at its next connect\n  flowtag enroll --revoke web-1',
    )
    .action((name: string | undefined, options: EnrollOptions, command: Command) =>
      run(command, (context) => enroll(name, options, context)),
    );
}

async function enroll(
  name: string | undefined,
  options: EnrollOptions,
  context: VerbContext,
): Promise<number> {
  const dir = options.dir ?? join(context.dataDir, 'enrolled');
  if (options.list) return list(dir, context);
  if (name === undefined || name === '') throw new UsageError('name the host, or whom the credential is for');
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw new UsageError(`the name is longer than ${MAX_NAME_BYTES} bytes`);
  const { role } = options;
  const done =
    role === 'site'
      ? enrollSite(dir, name, options)
      : options.revoke
        ? revoke(dir, { role, name })
        : issue(dir, { role, name }, options);
  context.say(`${done}\n  ${RELOAD}`);
  return 0;
}

const RELOAD =
  'tell the server, which includes that file: nats-server --signal reload=PID, or kill -HUP PID (infra/nats/README.md)';

async function list(dir: string, { out }: VerbContext): Promise<number> {
  const { identities = [], sites = [] } = readRoster(dir) ?? {};
  await out.writeAll([
    ...identities.map(({ role, name, publicKey }) => `${role.padEnd(10)}  ${publicKey}  ${escapeText(name)}`),
    ...sites.map((site) => `${'site'.padEnd(10)}  ${'(by certificate)'.padEnd(56)}  ${site}`),
  ]);
  return 0;
}

/** A site holds no key of flowtag's: whoever signs certificates for the hub's leaf nodes makes it one. */
function enrollSite(dir: string, site: string, { out, rotate, revoke: isRevoked }: EnrollOptions): string {
  if (!SITE_NAME.test(site))
    throw new UsageError('a site is named as its JetStream domain: letters, digits and -, at most 63');
  if (out !== undefined || rotate)
    throw new UsageError('a site has a certificate: make-tls.sh makes it anew');
  const file = changeRoster(dir, (before) => {
    if (isRevoked && !before.sites.includes(site))
      throw new FlowtagError('ENROLLED', `site ${site} is not enrolled in ${dir}`);
    return isRevoked ? withoutSite(before, site) : withSite(before, site);
  });
  return isRevoked
    ? `site ${site} is revoked in ${file}`
    : `certificate: infra/nats/make-tls.sh --site DIRECTORY ${site}\n  server: ${file}`;
}

function revoke(dir: string, who: Pick<Identity, 'role' | 'name'>): string {
  const file = changeRoster(dir, (before) => {
    requireEnrolled(before.identities, who, dir);
    return withoutIdentity(before, who);
  });
  return `${keyOf(who)} is revoked in ${file}`;
}

/** The credential is in place before the server learns the key: a daemon that connects meanwhile only tries again. */
function issue(dir: string, who: Pick<Identity, 'role' | 'name'>, { out, rotate }: EnrollOptions): string {
  if (out === undefined && keyOf(who).length > MAX_FILE_NAME)
    throw new UsageError('the name is too long for a file: give --out FILE');
  const credential = out ?? join(dir, `${keyOf(who)}.creds`);
  const file = changeRoster(dir, (before) => {
    if (rotate) requireEnrolled(before.identities, who, dir);
    else if (before.identities.some((each) => keyOf(each) === keyOf(who)))
      throw new FlowtagError('ENROLLED', `${keyOf(who)} is enrolled; for a new key: --rotate`);
    else if (existsSync(credential))
      throw new FlowtagError(
        'ENROLLED',
        `${credential} exists and is not overwritten; give --out, or move it`,
      );
    const { seed, publicKey } = createKey();
    writePrivate(credential, formatCredential({ ...who, seed }));
    return withIdentity(before, { ...who, publicKey });
  });
  return `credential: ${credential} (secret: take it to its holder by a safe way, mode 0600)\n  server: ${file}`;
}

function requireEnrolled(
  identities: readonly Identity[],
  who: Pick<Identity, 'role' | 'name'>,
  dir: string,
): void {
  if (identities.some((each) => keyOf(each) === keyOf(who))) return;
  throw new FlowtagError('ENROLLED', `${keyOf(who)} is not enrolled in ${dir}; see: flowtag enroll --list`);
}

/** Never readable to others, not even for a moment. */
function writePrivate(file: string, text: string): void {
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true }); // one that a crash left
  writeFileSync(fresh, text, { mode: 0o600, flag: 'wx' });
  renameSync(fresh, file);
}
