// The fleet that the tests of this folder let in: one identity of each role, and the limits of its streams.
import type { BusRole } from '../../schemas/permissions.ts';

export const NAMES: Readonly<Record<BusRole, string>> = {
  admin: 'ops',
  capture: 'host-a',
  correlator: 'join-1',
  sink: 'store-1',
  viewer: 'alice',
};

export const LIMITS = {
  eventBytes: 8 << 20,
  eventAgeMs: 3_600_000,
  flowBytes: 8 << 20,
  flowAgeMs: 3_600_000,
  replicas: 1,
};
