import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AUTO, isTarget, parseTarget } from '../../../services/capture/targets.ts';
import { ConfigError } from '../../../services/runtime/errors.ts';

function matches(text: string, executable: string, pid = 1): boolean {
  return isTarget(parseTarget(text, '/work/dir'), { pid, executable });
}

describe('a target', () => {
  it('is a pid when it is all digits', () => {
    expect(parseTarget('4321', '/')).toEqual({ kind: 'pid', text: '4321', pid: 4321 });
    expect(matches('4321', '/opt/4321', 4321)).toBe(true);
    expect(matches('4321', '/opt/4321', 432)).toBe(false);
  });

  it('is a path otherwise, from the given directory', () => {
    expect(parseTarget('bin/../app', '/work/dir')).toEqual({
      kind: 'path',
      text: 'bin/../app',
      path: '/work/dir/app',
    });
    expect(matches('/opt/app', '/opt/app')).toBe(true);
    expect(matches('/opt/app', '/opt/app2')).toBe(false);
    expect(matches('app.go', '/work/dir/appxgo')).toBe(false);
    expect(matches('4321a', '/work/dir/4321a', 4321)).toBe(true);
  });

  it('is everything with auto', () => {
    expect(isTarget(AUTO, { pid: 1, executable: '/sbin/init' })).toBe(true);
  });
});

describe('a glob', () => {
  it.each([
    ['/opt/*', '/opt/app', true],
    ['/opt/*', '/opt/bin/app', false],
    ['/opt/*', '/opt', false],
    ['/opt/**', '/opt/bin/app', true],
    ['/opt/**/app', '/opt/a/b/app', true],
    ['**/app', '/opt/a/app', true],
    ['/opt/app-?', '/opt/app-1', true],
    ['/opt/app-?', '/opt/app-', false],
    ['/opt/app-?', '/opt/app-😀', true],
    ['/opt?app', '/opt/app', false],
    ['app-*', '/opt/bin/app-1', true], // without a slash: by name
    ['app-*', '/opt/app-1/bin', false],
    ['*', '/opt/anything', true],
    ['./build/*', '/work/dir/build/app', true],
    ['build/*', '/work/dir/build/app', true],
    ['../*/app', '/work/x/app', true],
    ['*/app', '/work/dir/x/app', true],
    ['build/*', '/elsewhere/build/app', false],
    ['/opt/a.b+(c)*', '/opt/a.b+(c)d', true],
    ['/opt/a.b*', '/opt/axb', false],
    ['/opt/*\n**', '/opt/x\ny\nz/app', true],
  ])('%s: %s is %s', (glob, executable, expected) => {
    expect(matches(glob, executable)).toBe(expected);
  });

  it.each([
    ['[ab]', 'a', true],
    ['[ab]', 'c', false],
    ['[a-c]', 'b', true],
    ['[!a-c]', 'b', false],
    ['[!a-c]', 'd', true],
    ['[^a]', 'a', false],
    ['[]a]', ']', true],
    ['[]a]', 'a', true],
    ['[!]a]', ']', false],
    ['[!]a]', 'b', true],
    ['[a^]', '^', true],
    ['[\\]', '\\', true],
    ['[[]', '[', true],
    ['[]', '[]', true], // no class: as it stands
    ['[ab', '[ab', true],
    ['[!a]', '/', false], // a slash is never part of a name
    ['[+-0]', '/', false],
  ])('has classes as a shell has: %s, %s is %s', (set, text, expected) => {
    expect(matches(`/opt/x${set}*`, `/opt/x${text}`)).toBe(expected);
  });

  it('with a range upside down is refused in words', () => {
    expect(() => parseTarget('/opt/[z-a]', '/')).toThrow(ConfigError);
    expect(() => parseTarget('/opt/[z-a]', '/')).toThrow('target /opt/[z-a]: not a glob');
  });

  const char = fc.constantFrom(...'ab.+^$(){}|\\]-,! \n/é😀'.match(/./gsu)!);
  const paths = fc
    .string({ unit: char })
    .map((text) => `/${text}`.replace(/\/+/g, '/').replace(/(?<=.)\/$/, ''));

  it('takes whatever is not a wildcard literally', () => {
    fc.assert(
      fc.property(paths, fc.nat(), (path, at) => {
        const folder = path.slice(0, path.lastIndexOf('/') + 1);
        const name = [...path.slice(folder.length)]; // by character: a glob is not cut inside one
        const cut = at % (name.length + 1);
        fc.pre(!/\/\.\.?(\/|$)/.test(path));
        const glob = `${folder}${name.slice(0, cut).join('')}*${name.slice(cut).join('')}`;
        expect(matches(glob, path)).toBe(true);
        expect(matches(`${path}*`, `x${path}`)).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it('that is a path names itself', () => {
    fc.assert(fc.property(paths, (path) => matches(path, parseTargetPath(path))));
  });
});

function parseTargetPath(text: string): string {
  const target = parseTarget(text, '/');
  return target.kind === 'path' ? target.path : '';
}
