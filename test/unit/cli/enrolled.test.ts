import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Roster, serverConfig, withIdentity } from '../../../services/cli/enrolled.ts';
import { findNatsServer } from '../../../services/cli/installation.ts';
import { createKey } from '../../../services/runtime/bus-access.ts';
import { readCredential } from '../../../services/runtime/credential-file.ts';
import { runCommand } from '../../integration/cli/command-line.ts';

const NONE: Roster = { v: 1, nobody: createKey().publicKey, identities: [], sites: [] };
const HOSTILE = [
  'a"b',
  "a'b",
  'a}b',
  '{',
  ']',
  'a\nb: 1',
  'a\r\n}',
  '>',
  '*',
  'a.>',
  '# x',
  '$SYS',
  'ä €',
  '\0',
  '../x',
];
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'flowtag-enroll-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const enroll = (...args: string[]) => runCommand('enroll', '--dir', dir, ...args);

describe('the configuration of the server', () => {
  it('is made of nothing but tokens, whatever a host is called', () => {
    for (const name of HOSTILE) {
      const plain = serverConfig(withIdentity(NONE, { role: 'capture', name: 'x', publicKey: NONE.nobody }));
      const text = serverConfig(withIdentity(NONE, { role: 'capture', name, publicKey: NONE.nobody }));
      const shape = (config: string) => config.replaceAll(/[\w=]/g, '');
      expect(shape(text), JSON.stringify(name)).toBe(shape(plain));
    }
  });

  it('is taken by nats-server with all of them at once', () => {
    const all = HOSTILE.reduce(
      (before, name) => withIdentity(before, { role: 'capture', name, publicKey: createKey().publicKey }),
      NONE,
    );
    const file = join(dir, 'nats.conf');
    writeFileSync(file, serverConfig(all));
    const { status, stderr } = spawnSync(findNatsServer(), ['-c', file, '-t'], { encoding: 'utf8' });
    expect({ status, stderr }).toMatchObject({ status: 0 });
  });

  it('does not depend on the order of enrolling', () => {
    const [a, b] = (['a', 'b'] as const).map((name) => ({
      role: 'capture' as const,
      name,
      publicKey: createKey().publicKey,
    }));
    expect(serverConfig(withIdentity(withIdentity(NONE, a!), b!))).toBe(
      serverConfig(withIdentity(withIdentity(NONE, b!), a!)),
    );
  });
});

describe('flowtag enroll', () => {
  it('makes a credential for its owner alone, and tells the server the public key only', async () => {
    expect(await enroll('web-1')).toMatchObject({ code: 0, stderr: expect.stringMatching(/reload=PID/) });
    const file = join(dir, 'capture.web-1.creds');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { role, name, seed } = readCredential(file);
    expect({ role, name }).toEqual({ role: 'capture', name: 'web-1' });
    const others = readdirSync(dir).filter((each) => !each.endsWith('.creds'));
    expect(others.sort()).toEqual(['flowtag-users.conf', 'identities.json']);
    for (const other of others) expect(readFileSync(join(dir, other), 'utf8')).not.toContain(seed);
  });

  it('keeps a key until told to rotate it', async () => {
    await enroll('web-1');
    const file = join(dir, 'capture.web-1.creds');
    const before = readFileSync(file, 'utf8');
    expect(await enroll('web-1')).toMatchObject({ code: 1, stderr: expect.stringMatching(/--rotate/) });
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect((await enroll('--rotate', 'web-1')).code).toBe(0);
    expect(readFileSync(file, 'utf8')).not.toBe(before);
    expect((await enroll('--rotate', 'web-2')).code).toBe(1);
  });

  it('does not overwrite a credential of which it does not know', async () => {
    writeFileSync(join(dir, 'capture.web-1.creds'), 'precious');
    expect(await enroll('web-1')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/not overwritten/),
    });
    expect(readFileSync(join(dir, 'capture.web-1.creds'), 'utf8')).toBe('precious');
  });

  it('lists and revokes', async () => {
    await enroll('web-1');
    await enroll('--role', 'viewer', 'alice');
    expect((await enroll('--list')).stdout).toMatch(
      /^capture +U\w{55} {2}web-1\nviewer +U\w{55} {2}alice\n$/,
    );
    expect((await enroll('--revoke', 'web-1')).code).toBe(0);
    expect((await enroll('--list')).stdout).toMatch(/^viewer .*\n$/);
    expect(readFileSync(join(dir, 'flowtag-users.conf'), 'utf8')).not.toContain('web-1');
    expect((await enroll('--revoke', 'web-1')).code).toBe(1);
  });

  it('lets a site in by its certificate alone, until it is revoked', async () => {
    const config = join(dir, 'flowtag-users.conf');
    expect((await enroll('--role', 'site', 'site-a')).stderr).toMatch(/make-tls\.sh --site DIRECTORY site-a/);
    expect((await enroll('--role', 'site', 'site-a')).code).toBe(0); // as before: there is no key to lose
    expect(readFileSync(config, 'utf8')).toMatch(
      /user: "site-a", allowed_connection_types: \[LEAFNODE\], permissions/,
    );
    const { status, stderr } = spawnSync(findNatsServer(), ['-c', config, '-t'], { encoding: 'utf8' });
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect((await enroll('--list')).stdout).toMatch(/^site +\(by certificate\) +site-a\n$/);
    expect((await enroll('--role', 'site', '--revoke', 'site-a')).code).toBe(0);
    expect(readFileSync(config, 'utf8')).not.toContain('site-a');
    expect((await enroll('--role', 'site', '--revoke', 'site-a')).code).toBe(1);
  });

  it.each(['a.b', 'site a', '"', '>', 'ä', 'x'.repeat(64)])('refuses a site called %s', async (name) => {
    expect(await enroll('--role', 'site', name)).toMatchObject({ code: 2 });
    expect(readdirSync(dir)).toEqual([]);
  });

  it('leaves the server closed when nobody is enrolled any more', async () => {
    await enroll('web-1');
    await enroll('--revoke', 'web-1');
    expect(readFileSync(join(dir, 'flowtag-users.conf'), 'utf8')).toMatch(
      /nkey: U\w{55}, permissions: \{ publish: \{ deny/,
    );
  });
});
