// Where the fields that the probes read are inside Go's structs, by Go version, linux/amd64. The layouts are no
// contract of Go: an unknown version is refused rather than read at a guess.
import { GoBinaryError } from './go-binary-error.ts';

export interface StructOffsets {
  readonly goid: number; // runtime.g
  readonly parentGoid: number; // runtime.g; 0: this version has none
  readonly curg: number; // runtime.m
  readonly urlPath: number; // net/url.URL
  readonly urlRawQuery: number; // net/url.URL
  readonly responseStatus: number; // net/http.response
  readonly headerMap: 'hmap' | 'swiss'; // how a map is built
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
  const layout = LAYOUTS.findLast(({ sinceMinor }) => minor >= sinceMinor);
  if (layout === undefined) throw unsupported(`built with ${goVersion}, too old`, 'build it');
  const { sinceMinor: _, ...offsets } = layout;
  // While Swiss maps were an experiment (1.24, 1.25) they could be switched off; the version string says so.
  return /\bX:\S*\bnoswissmap\b/.test(goVersion) ? { ...offsets, headerMap: 'hmap' } : offsets;
}

/** The same in all these versions. */
const URL_PATH = 56;
const NEWEST_MINOR = 27;

/**
 * From the DWARF of programs built with Debian's Go 1.19.8, 1.21.13, 1.22.12, 1.23.5, 1.24.4, 1.25.12, 1.26.10 and
 * 1.27.3. Go 1.18 and 1.20 are assumed to be as 1.19.
 */
const LAYOUTS: readonly (StructOffsets & { readonly sinceMinor: number })[] = [
  layout(18, {
    goid: 152,
    parentGoid: 0,
    curg: 192,
    urlRawQuery: 96,
    responseStatus: 120,
    headerMap: 'hmap',
  }),
  layout(21, {
    goid: 152,
    parentGoid: 272,
    curg: 192,
    urlRawQuery: 96,
    responseStatus: 120,
    headerMap: 'hmap',
  }),
  layout(23, {
    goid: 160,
    parentGoid: 280,
    curg: 192,
    urlRawQuery: 96,
    responseStatus: 120,
    headerMap: 'hmap',
  }),
  layout(24, {
    goid: 160,
    parentGoid: 280,
    curg: 192,
    urlRawQuery: 96,
    responseStatus: 120,
    headerMap: 'swiss',
  }),
  layout(25, {
    goid: 152,
    parentGoid: 272,
    curg: 184,
    urlRawQuery: 96,
    responseStatus: 120,
    headerMap: 'swiss',
  }),
  layout(26, {
    goid: 152,
    parentGoid: 280,
    curg: 184,
    urlRawQuery: 88,
    responseStatus: 120,
    headerMap: 'swiss',
  }),
  layout(27, {
    goid: 152,
    parentGoid: 280,
    curg: 184,
    urlRawQuery: 88,
    responseStatus: 128,
    headerMap: 'swiss',
  }),
];

function layout(sinceMinor: number, offsets: Omit<StructOffsets, 'urlPath'>) {
  return { sinceMinor, urlPath: URL_PATH, ...offsets };
}

function unsupported(problem: string, cure: string): GoBinaryError {
  return new GoBinaryError('unsupported_go', `${problem}; ${cure} with Go 1.18 to 1.${NEWEST_MINOR}`);
}
