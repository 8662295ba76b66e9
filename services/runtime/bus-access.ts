// How a connection proves who it is, and how it knows the server: NKeys (the server sees a signature, never the seed)
// and TLS.
import { readFileSync } from 'node:fs';
import { type Authenticator, nkeyAuthenticator, nkeys, type TlsOptions } from 'nats';
import { inboxPrefix } from '../../schemas/permissions.ts';
import type { Credential } from './credential.ts';
import { readCredential } from './credential-file.ts';
import { ConfigError } from './errors.ts';
import { type Logger, Recurrence } from './log.ts';

export interface BusAccess {
  /** File with a credential; none or '' for a server without access control. */
  readonly creds?: string | undefined;
  /** File with certificates in PEM form that vouch for the server's; without it those that Node.js trusts. */
  readonly tlsCa?: string | undefined;
}

export interface AccessOptions {
  readonly inboxPrefix: string;
  readonly authenticator?: Authenticator;
  /** When present the client refuses a server without TLS. */
  readonly tls?: TlsOptions;
}

const ANONYMOUS_INBOX = '_INBOX_flowtag';

/** For the client's `connect`. Throws ConfigError CREDENTIAL. */
export function accessOptions({ creds, tlsCa }: BusAccess, server: string, log: Logger): AccessOptions {
  const tls = tlsCa ? { tls: { ca: readAuthority(tlsCa) } } : server.includes('tls://') ? { tls: {} } : {};
  if (!creds) return { inboxPrefix: ANONYMOUS_INBOX, ...tls };
  const credential = readCredential(creds);
  return {
    inboxPrefix: inboxPrefix(credential.role, credential.name),
    authenticator: nkeyAuthenticator(seedOf(creds, credential, log)),
    ...tls,
  };
}

/** A new key: the seed for the credential, the public key for the server. */
export function createKey(): { seed: string; publicKey: string } {
  const pair = nkeys.createUser();
  return { seed: Buffer.from(pair.getSeed()).toString(), publicKey: pair.getPublicKey() };
}

/**
 * Read again for each connect, so that a key that was rotated takes effect with the next one. A file that cannot be
 * read just then must not end the connection for good, as an authenticator that throws does.
 */
function seedOf(file: string, first: Credential, log: Logger): () => Uint8Array {
  const troubles = new Recurrence();
  let { seed } = first;
  return () => {
    try {
      const now = readCredential(file);
      if (now.role === first.role && now.name === first.name) ({ seed } = now);
      else if (troubles.isWorthLogging(performance.now()))
        log.error({ file }, 'credential of another identity: restart to use it');
    } catch (error) {
      if (troubles.isWorthLogging(performance.now()))
        log.error({ problem: (error as Error).message }, 'credential not read again, using the one before');
    }
    return Buffer.from(seed);
  };
}

function readAuthority(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError('TLS_CA', `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
