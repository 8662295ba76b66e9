// A TCP link on loopback that can be cut (reset, and refused) or become a black hole (open, and silent).
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Link {
  readonly port: number;
  /** `up` after `hole` resets the connections that went silent, as a router does that forgot them. */
  set(state: 'up' | 'cut' | 'hole'): void;
  close(): void;
}

export async function openLink(targetPort: number): Promise<Link> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let state: 'up' | 'cut' | 'hole' = 'up';
  const forward = (from: Socket, to: Socket, pair: readonly [Socket, Socket]): void => {
    from.on('data', (chunk) => {
      if (state === 'hole' || to.write(chunk)) return;
      from.pause();
      to.once('drain', () => from.resume());
    });
    from.on('error', () => undefined);
    from.on('close', () => {
      pairs.delete(pair);
      if (state !== 'hole') to.destroy();
    });
  };
  const server = createServer((near) => {
    if (state === 'cut') return void near.destroy();
    const far = connect(targetPort, '127.0.0.1');
    const pair = [near, far] as const;
    pairs.add(pair);
    forward(near, far, pair);
    forward(far, near, pair);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const reset = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    set(next) {
      if (next === 'cut' || state === 'hole') reset();
      state = next;
    },
    close() {
      state = 'cut';
      reset();
      server.close();
    },
  };
}
