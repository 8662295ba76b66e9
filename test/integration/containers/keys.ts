// What the operator of a fleet makes for its NATS servers, as infra/nats/README.md says: configuration, a certificate,
// and who is let in.
import { chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BusRole } from '../../../schemas/permissions.ts';
import { encodeToken } from '../../../schemas/subjects.ts';
import { enrollIn, makeTls } from '../../support/secure-nats.ts';

const CONFIGURATION = join(import.meta.dirname, '../../../infra/nats/nats.conf');
/** User of the images by number: a credential is readable to its owner alone. */
const NODE_USER = 1_000;

export class Keys {
  private readonly dir = mkdtempSync(join(tmpdir(), 'flowtag-keys-'));

  static async make(
    servers: readonly string[],
    identities: readonly (readonly [BusRole, string])[],
  ): Promise<Keys> {
    const keys = new Keys();
    copyFileSync(CONFIGURATION, join(keys.dir, 'nats.conf'));
    makeTls(join(keys.dir, 'tls'), ...servers);
    for (const [role, name] of identities) {
      await enrollIn(keys.dir, '--role', role, name);
      chownSync(keys.access(role, name).creds, NODE_USER, NODE_USER);
    }
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
