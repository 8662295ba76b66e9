// How those who may use the store find it: a file that only its owner can read, replaced in one step.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

const endpoint = z.object({
  pid: z.number().int().positive(),
  url: z.url(),
  user: z.string(),
  password: z.string(),
});
export type Endpoint = z.infer<typeof endpoint>;

export function writeEndpoint(path: string, value: Endpoint): void {
  const draft = `${path}.${value.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, `${JSON.stringify(value)}\n`, { mode: 0o600 });
  renameSync(draft, path);
}

/** Undefined while there is none, or it is not one. */
export function readEndpoint(path: string): Endpoint | undefined {
  try {
    return endpoint.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}
