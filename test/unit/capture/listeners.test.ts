import { once } from 'node:events';
import { statSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { Listeners, listeningPorts } from '../../../services/capture/listeners.ts';

it('reads the listening ports of both families, and nothing of connections', () => {
  const text = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0',
    '   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000',
    '   2: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1',
    '',
  ].join('\n');
  expect(listeningPorts(text)).toEqual([8080, 80]);
});

it("finds a real server's port in the namespace of a process, once, and says when it is complete", async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const netns = statSync('/proc/self/ns/net').ino;
  const added: [number, number][] = [];
  const listeners = new Listeners((...listener) => added.push(listener));
  listeners.learn(process.pid);
  expect(added).toContainEqual([netns, port]);
  expect(added.at(-1)).toEqual([netns, 0]);
  const count = added.length;
  listeners.learn(process.ppid);
  expect(added).toHaveLength(count);
  server.close();
});

it('takes a process that is gone for one without listeners that are known', () => {
  const added: unknown[] = [];
  new Listeners((...listener) => added.push(listener)).learn(0x7fff_ffff);
  expect(added).toEqual([]);
});
