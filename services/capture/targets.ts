// Which processes the user asked for, and whether one is among them. Pure.
import { resolve } from 'node:path';

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

/**
 * All digits: a pid. With `*`, `?` or `[`: a glob over executable paths (`**` crosses directories). Else a path,
 * relative to `directory`.
 */
export function parseTarget(text: string, directory: string): Target {
  if (/^\d+$/.test(text)) return { kind: 'pid', text, pid: Number(text) };
  if (/[*?[]/.test(text)) return { kind: 'glob', text, pattern: globPattern(text) };
  return { kind: 'path', text, path: resolve(directory, text) };
}

/** A path target must be resolved first: /proc names executables by their real path. */
export function isTarget(target: Target, process: Process): boolean {
  if (target.kind === 'pid') return target.pid === process.pid;
  if (target.kind === 'path') return target.path === process.executable;
  if (target.kind === 'glob') return target.pattern.test(process.executable);
  return true;
}

function globPattern(glob: string): RegExp {
  let pattern = '';
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at]!;
    const end = char === '[' ? glob.indexOf(']', at + 2) : -1;
    if (char === '*' && glob[at + 1] === '*') {
      pattern += '.*';
      at++;
    } else if (char === '*') pattern += '[^/]*';
    else if (char === '?') pattern += '[^/]';
    else if (end > 0) {
      pattern += `[${glob
        .slice(at + 1, end)
        .replace(/^!/, '^')
        .replace(/[\\[]/g, '\\$&')}]`;
      at = end;
    } else pattern += char.replace(/[\\^$.|+(){}[\]]/g, '\\$&');
  }
  return new RegExp(`^${glob.includes('/') ? '' : '(?:.*/)?'}${pattern}$`);
}
