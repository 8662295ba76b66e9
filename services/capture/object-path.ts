// Where the build puts the BPF object: build/ beside package.json, seen from the sources and from dist/.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

export function objectPath(from = import.meta.dirname): string {
  let directory = from;
  while (!existsSync(join(directory, 'package.json')) && dirname(directory) !== directory)
    directory = dirname(directory);
  return join(directory, 'build', 'flowtag.bpf.o');
}
