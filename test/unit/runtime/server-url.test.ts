import { expect, it } from 'vitest';
import { withoutCredentials } from '../../../services/runtime/server-url.ts';

it.each([
  ['nats://a:4222', 'nats://a:4222'],
  ['nats://me:secret@a:4222', 'nats://***@a:4222'],
  ['nats://token@a,tls://me:s@b:1', 'nats://***@a,tls://***@b:1'],
  ['nats://me:p@ss@a', 'nats://***@a'],
  ['nats://me:p/ss@a', 'nats://***@a'],
  ['nats://a,nats://me:s@b', 'nats://a,nats://***@b'],
])('shows %s as %s', (servers, shown) => {
  expect(withoutCredentials(servers)).toBe(shown);
});
