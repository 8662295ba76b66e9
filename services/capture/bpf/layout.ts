// What of the BPF object's types the daemon relies on, and a fingerprint of it: an object that was built
// from other headers than layout.gen.ts is refused at start instead of being read wrongly.
import { createHash } from 'node:crypto';
import { type Layout, readLayout } from './btf.ts';

const STRUCTS = [
  'request_start',
  'request_end',
  'socket_event',
  'process_end',
  'go_binary',
  'target',
  'listener',
  'stack',
  'hits',
  'settings',
  'shared',
];
const ENUMS = ['event_type', 'via', 'event_flag', 'counter', 'hook'];

export function layoutOf(object: Buffer): Layout {
  return readLayout(object, STRUCTS, ENUMS);
}

export function fingerprintOf(layout: Layout): string {
  const canonical = JSON.stringify([
    STRUCTS.map((name) => [name, layout.structs[name]!.size, Object.entries(layout.structs[name]!.fields)]),
    ENUMS.map((name) => [name, Object.entries(layout.enums[name]!)]),
  ]);
  return createHash('sha256').update(canonical).digest('hex').slice(0, 16);
}
