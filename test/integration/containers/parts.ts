// How each part of a fleet runs in a container: the image that is shipped, and what it is given. The bus is closed as
// infra/nats says: TLS, and a key for each.
import { GenericContainer, Wait } from 'testcontainers';
import type { Keys } from './keys.ts';

export type Server = `nats-${number}`;
export type Service = 'provision' | 'correlator' | 'sink';
export type Part = Server | 'store' | Service;

/** Whose credential each has. */
export const ROLES = { provision: 'admin', correlator: 'correlator', sink: 'sink' } as const;
export const PORTS = { nats: 4222, store: 8123 };
export const STORE_PASSWORD = 'of a test';

const PASSWORD_FILE = '/run/flowtag/store-password';
const NATS_DIR = '/etc/flowtag-nats';
const CREDS = '/etc/flowtag/creds';
const TLS_CA = '/etc/flowtag/ca.pem';

export class PartContainer extends GenericContainer {
  /** On that network alone: given aliases, testcontainers would leave it on Docker's default network, too. */
  at(network: string, alias: string): this {
    this.createOpts.NetworkingConfig = { EndpointsConfig: { [network]: { Aliases: [alias] } } };
    return this.withNetworkMode(network);
  }
}

/** One of `servers`, which keep JetStream together when they are several. */
export function natsContainer(server: Server, servers: readonly Server[], keys: Keys) {
  const routes = servers.map((other) => `nats://${other}:6222`).join();
  const cluster = ['--cluster', 'nats://0.0.0.0:6222', '--cluster_name', 'test', '--routes', routes];
  // Servers tell clients of each other by addresses, for which the certificate does not vouch.
  const more = servers.length > 1 ? [...cluster, '--no_advertise'] : [];
  return new PartContainer('nats:2.10-alpine')
    .withWorkingDir(NATS_DIR)
    .withBindMounts(
      Array.from(keys.ofServer, ([name, source]) => ({ source, target: `${NATS_DIR}/${name}`, mode: 'ro' })),
    )
    .withCommand(['-c', 'nats.conf', '--http_port', '8222', '--server_name', server, ...more])
    .withWaitStrategy(Wait.forSuccessfulCommand('wget -q -O /dev/null http://127.0.0.1:8222/healthz'));
}

export function storeContainer() {
  return new PartContainer('flowtag-store')
    .withCommand(['store', '--listen', `0.0.0.0:${PORTS.store}`, '--password-file', PASSWORD_FILE])
    .withCopyContentToContainer([{ content: STORE_PASSWORD, target: PASSWORD_FILE, mode: 0o644 }])
    .withWaitStrategy(Wait.forLogMessage(/store open/));
}

/** Of all keys it sees its own alone. */
export function serviceContainer(service: Service, servers: readonly Server[], keys: Keys) {
  const { creds, tlsCa } = keys.access(ROLES[service], ROLES[service]);
  const replicas = ['--replicas', String(servers.length)];
  const store = [
    '--store',
    `http://store:${PORTS.store}`,
    '--user',
    'flowtag',
    '--password-file',
    PASSWORD_FILE,
  ];
  return new PartContainer('flowtag')
    .withCommand([service, ...(service === 'sink' ? store : replicas)])
    .withEnvironment({
      FLOWTAG_SERVER: servers.map((server) => `tls://${server}:${PORTS.nats}`).join(),
      FLOWTAG_CREDS: CREDS,
      FLOWTAG_TLS_CA: TLS_CA,
    })
    .withBindMounts([
      { source: creds, target: CREDS, mode: 'ro' },
      { source: tlsCa, target: TLS_CA, mode: 'ro' },
    ])
    .withCopyContentToContainer([{ content: STORE_PASSWORD, target: PASSWORD_FILE, mode: 0o644 }])
    .withWaitStrategy(
      Wait.forLogMessage(service === 'provision' ? /streams and buckets are there/ : /starting/),
    );
}
