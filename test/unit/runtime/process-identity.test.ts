import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { isGone, processIdentity } from '../../../services/runtime/process-identity.ts';

it('knows that this process lives, under any name', () => {
  expect(isGone(processIdentity(0))).toBe(false);
  expect(isGone(`correlator-node-a-${processIdentity(0)}`)).toBe(false);
});

it('knows that a process is gone, also when its pid was used again', async () => {
  const own = processIdentity(0);
  const [pid, start, machine] = own.split('_') as [string, string, string];
  const child = spawn('true');
  await once(child, 'exit');
  expect(isGone(`${child.pid}_${start}_${machine}`)).toBe(true);
  expect(isGone(`${pid}_${Number(start) - 1}_${machine}`)).toBe(true);
});

it('knows nothing of processes of other machines and containers', () => {
  const [, start] = processIdentity(0).split('_');
  expect(isGone(`1_${start}_0123456789ab`)).toBe(false);
  expect(isGone(`1_${start}_elsewhere`)).toBe(false);
  expect(isGone('something else')).toBe(false);
});
