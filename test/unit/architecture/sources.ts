// The source tree as the architecture rules see it. Line by line and by regular expressions: enough for code
// that Biome has formatted, and quick to read.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface Source {
  /** From the root of the repository. */
  readonly path: string;
  /** Without comments and type-only imports: what is left when the types are gone. */
  readonly code: string;
  /** Modules that it imports or requires; relative ones as paths from the root. */
  readonly imports: readonly string[];
}

export function readSources(folders: readonly string[]): readonly Source[] {
  return folders
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)),
    )
    .filter((path) => /\.(ts|js|mjs)$/.test(path))
    .map((path) => parseSource(path, readFileSync(path, 'utf8')));
}

/** Type imports count for arrows (a contract is a dependency), not for doors (nothing is loaded). */
export function typeImportsOf(path: string): readonly string[] {
  return modulesIn(path, withoutComments(readFileSync(path, 'utf8')));
}

export function parseSource(path: string, text: string): Source {
  const code = withoutComments(text).replace(/^(import|export) type\b[^;]*? from '[^']*';/gm, '');
  return { path, code, imports: modulesIn(path, code) };
}

function withoutComments(text: string): string {
  return text.replace(/^\s*(\/\/|\/?\*).*$| \/\/ .*$/gm, '');
}

function modulesIn(path: string, code: string): string[] {
  const specifiers = code.matchAll(
    /(?:\b(?:from|import)\s+|\b(?:import|require|require\.resolve)\()(['"])(.+?)\1/g,
  );
  return [...specifiers].map(([, , name]) =>
    name!.startsWith('.') ? normalize(join(dirname(path), name!)) : name!,
  );
}
