// Three nats-servers that keep JetStream together, each a process on loopback.
import { freePort, type NatsServer, startNatsServer } from './nats-server.ts';

export interface NatsCluster {
  /** All servers, joined by commas. */
  readonly url: string;
  /** By their names: `n0`, `n1`, `n2`. */
  readonly servers: ReadonlyMap<string, NatsServer>;
  stop(): Promise<void>;
}

export async function startNatsCluster(): Promise<NatsCluster> {
  const ports = [await freePort(), await freePort(), await freePort()];
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
  const servers = await Promise.all(
    routes.map((route, n) =>
      startNatsServer({
        more: [
          '--cluster_name',
          'test',
          '--server_name',
          `n${n}`,
          '--cluster',
          route,
          '--routes',
          routes.join(','),
        ],
      }),
    ),
  );
  return {
    url: servers.map(({ url }) => url).join(','),
    servers: new Map(servers.map((server, n) => [`n${n}`, server])),
    stop: async () => {
      await Promise.all(servers.map((server) => server.kill9()));
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
