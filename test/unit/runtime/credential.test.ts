import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createKey } from '../../../services/runtime/bus-access.ts';
import { formatCredential, parseCredential } from '../../../services/runtime/credential.ts';
import { readCredential, requireHost } from '../../../services/runtime/credential-file.ts';

const { seed } = createKey();
let dir: string;
let file: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'flowtag-credential-'));
  file = join(dir, 'creds');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('credential', () => {
  it.each(['web-1', 'a\nseed: SUX', '', 'ä: #'])('of %j is read as it was written', (name) => {
    const credential = { role: 'capture', name, seed } as const;
    expect(parseCredential(formatCredential(credential))).toEqual(credential);
  });

  it.each([
    ['', 'role'],
    [`role: root\nname: a\nseed: ${seed}`, 'role'],
    [`role: sink\nname: a.b\nseed: ${seed}`, 'name'],
    [`role: sink\nname: a\nseed: ${seed}x`, 'seed'],
    [`role: sink\nname: a\nseed: ${seed}\nmore: 1`, 'it'],
  ])('%j is none, said without its secret', (text, what) => {
    const problem = parseCredential(text);
    expect(problem).toMatch(new RegExp(`^${what} is not`));
    expect(problem).not.toContain(seed);
  });

  it.each([0o640, 0o604, 0o660, 0o644])('that others can open (%o) is refused, with the cure', (mode) => {
    writeFileSync(file, formatCredential({ role: 'sink', name: 's', seed }));
    chmodSync(file, mode);
    expect(() => readCredential(file)).toThrow(/chmod 600 .*creds/);
    chmodSync(file, 0o600);
    expect(readCredential(file).name).toBe('s');
  });

  it('of another host or role does not start a daemon', () => {
    writeFileSync(file, formatCredential({ role: 'capture', name: 'web-1', seed }), { mode: 0o600 });
    expect(() => requireHost(file, 'web-1')).not.toThrow();
    expect(() => requireHost(file, 'web-2')).toThrow(/is of host "web-1".*on host "web-2".*--host/);
    writeFileSync(file, formatCredential({ role: 'sink', name: 'web-1', seed }), { mode: 0o600 });
    expect(() => requireHost(file, 'web-1')).toThrow(/is of a sink/);
  });
});
