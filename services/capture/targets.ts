// Which processes the user asked for, and whether one is among them. Pure.
import { join, resolve } from 'node:path';
import { ConfigError } from '../runtime/errors.ts';

export type Target =
  | { readonly kind: 'pid'; readonly text: string; readonly pid: number }
  | { readonly kind: 'path'; readonly text: string; readonly path: string }
  | { readonly kind: 'glob'; readonly text: string; readonly pattern: RegExp }
  | { readonly kind: 'auto'; readonly text: string };

export interface Process {
  readonly pid: number;
  /** Its executable as /proc/<pid>/exe names it, without the mark of a deleted file. */
  readonly executable: string;
}

export const AUTO: Target = { kind: 'auto', text: 'auto' };

const WILDCARD = /[*?[]/;
/** A class as in a shell: `[abc]`, `[!a-z]`, `[]]`. */
const CLASS = /^\[([!^]?)(\][^\]]*|[^\]]+)\]/;

/**
 * All digits: a pid. With `*`, `?` or `[`: a glob over executable paths (`**` crosses directories), over names when it
 * has no slash. Else a path. Paths and globs are relative to `directory`.
 */
export function parseTarget(text: string, directory: string): Target {
  if (/^\d+$/.test(text)) return { kind: 'pid', text, pid: Number(text) };
  if (WILDCARD.test(text)) return { kind: 'glob', text, pattern: parseGlob(text, directory) };
  return { kind: 'path', text, path: resolve(directory, text) };
}

/** A path target must be resolved first: /proc names executables by their real path. */
export function isTarget(target: Target, process: Process): boolean {
  if (target.kind === 'pid') return target.pid === process.pid;
  if (target.kind === 'path') return target.path === process.executable;
  if (target.kind === 'glob') return target.pattern.test(process.executable);
  return true;
}

function parseGlob(text: string, directory: string): RegExp {
  const literal = text.slice(0, text.lastIndexOf('/', text.search(WILDCARD)) + 1); // folders before any wildcard
  let folder = '';
  if (!text.includes('/')) folder = '(?:.*/)?';
  else if (!text.startsWith('**')) folder = escaped(join(resolve(directory, literal), '/'));
  try {
    return new RegExp(`^${folder}${globPattern(text.slice(literal.length))}$`, 'su');
  } catch (cause) {
    throw new ConfigError('CONFIG', `target ${text}: not a glob; write a range like [a-z], lower end first`, {
      cause,
    });
  }
}

function globPattern(glob: string): string {
  let pattern = '';
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at]!;
    const set = CLASS.exec(glob.slice(at));
    if (char === '*' && glob[at + 1] === '*') {
      pattern += '.*';
      at++;
    } else if (char === '*') pattern += '[^/]*';
    else if (char === '?') pattern += '[^/]';
    else if (set) {
      pattern += `(?!/)[${set[1] ? '^' : ''}${set[2]!.replace(/[\\^[\]]/g, '\\$&')}]`;
      at += set[0].length - 1;
    } else pattern += escaped(char);
  }
  return pattern;
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?|(){}[\]]/g, '\\$&');
}
