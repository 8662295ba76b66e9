// Where the fields that the probes read are inside Go's structs, by Go version, linux/amd64. The layouts are no
// contract of Go: an unknown version is refused rather than read at a guess.
import { GoBinaryError } from './go-binary-error.ts';
import { GO_LAYOUTS } from './offsets.gen.ts';

export interface StructOffsets {
  readonly goid: number; // runtime.g
  readonly curg: number; // runtime.m
  readonly schedBp: number; // runtime.g.sched.bp: frame pointer of a parked goroutine
  readonly hchanElemtype: number; // runtime.hchan
  readonly sudogIsSelect: number; // runtime.sudog
  readonly urlPath: number; // net/url.URL
  readonly urlRawQuery: number; // net/url.URL
  readonly responseStatus: number; // net/http.response
  readonly maxConnsPerHost: number; // net/http.Transport
  readonly headerMap: 'hmap' | 'swiss'; // how a map is built
}

/** As found in a program of one Go release; releases of one minor are alike but for what status-offset.ts finds. */
export interface GoLayout extends StructOffsets {
  readonly goVersion: string;
  readonly minor: number;
}

export interface GoOffsets extends StructOffsets {
  /** Of g, from %fs; negative. */
  readonly tlsG: number;
}

/** From `go1.24.4`, `go1.27rc1`, `devel go1.28-3f2a1c`, any suffix; undefined when there is no such number. */
export function parseGoMinor(goVersion: string): number | undefined {
  const match = /\bgo1\.(\d{1,4})/.exec(goVersion);
  return match === null ? undefined : Number(match[1]);
}

/** `allowUnknownGo`: a Go newer than the table is read with the newest known layout. */
export function structOffsets(goVersion: string, allowUnknownGo: boolean): StructOffsets {
  // What build-info.ts gives for the format before Go 1.18.
  if (goVersion === '') throw unsupported('built with a Go older than 1.18', 'build it');
  const minor = parseGoMinor(goVersion);
  if (minor === undefined)
    throw unsupported(`its build information does not name a Go release ("${goVersion}")`, 'build it');
  if (minor > NEWEST_MINOR && !allowUnknownGo)
    throw unsupported(`built with ${goVersion}, newer than what is known`, 'update flowtag, or build it');
  if (minor < OLDEST_MINOR) throw unsupported(`built with ${goVersion}, too old`, 'build it');
  const layout = GO_LAYOUTS.findLast((known) => minor >= known.minor) ?? GO_LAYOUTS[0]!;
  const { goVersion: _, minor: __, ...offsets } = layout;
  // While Swiss maps were an experiment (1.24, 1.25) they could be switched off; the version string says so.
  return /\bX:\S*\bnoswissmap\b/.test(goVersion) ? { ...offsets, headerMap: 'hmap' } : offsets;
}

/** Before, functions passed arguments on the stack. No toolchain of Go 1.18 or 1.20 was there to read: as 1.19. */
const OLDEST_MINOR = 18;
const NEWEST_MINOR = GO_LAYOUTS.at(-1)!.minor;

function unsupported(problem: string, cure: string): GoBinaryError {
  return new GoBinaryError(
    'unsupported_go',
    `${problem}; ${cure} with Go 1.${OLDEST_MINOR} to 1.${NEWEST_MINOR}`,
  );
}
