// What the operator of a fleet makes for its NATS servers, as infra/nats/README.md says: configuration, a certificate,
// and who is let in.
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BusRole } from '../../../schemas/permissions.ts';
import { encodeToken } from '../../../schemas/subjects.ts';
import { fillServerDirectory } from '../../support/secure-nats.ts';

/** User of the images by number: a credential is readable to its owner alone. */
const NODE_USER = 1_000;

export class Keys {
  private readonly dir = mkdtempSync(join(tmpdir(), 'flowtag-keys-'));

  static async make(
    servers: readonly string[],
    identities: readonly (readonly [BusRole, string])[],
  ): Promise<Keys> {
    const keys = new Keys();
    await fillServerDirectory(keys.dir, identities, ...servers);
    for (const [role, name] of identities) chownSync(keys.access(role, name).creds, NODE_USER, NODE_USER);
    return keys;
  }

  /** What a server needs, by name. */
  get ofServer(): ReadonlyMap<string, string> {
    return new Map(['nats.conf', 'flowtag-users.conf', 'tls'].map((name) => [name, join(this.dir, name)]));
  }

  access(role: BusRole, name: string): { creds: string; tlsCa: string } {
    const creds = join(this.dir, `${role}.${encodeToken(name)}.creds`);
    return { creds, tlsCa: join(this.dir, 'tls/ca.pem') };
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
