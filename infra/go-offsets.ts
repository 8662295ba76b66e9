// Writes services/capture/go/offsets.gen.ts: where Go's structs have the fields that the probes read, by Go version.
// `npx tsx infra/go-offsets.ts` after `infra/go-toolchains.sh`; a new Go is a new toolchain and another run.
// Fails when a field has moved that bpf/ takes to be where it always was.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

const BUILD = resolve('build');
const TOOLCHAINS = `${BUILD}/go-toolchains`;
const OUTPUT = 'services/capture/go/offsets.gen.ts';

/** In the table, by the names that it uses; of a field inside a field the sum. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  goid: ['runtime.g.goid'],
  curg: ['runtime.m.curg'],
  schedBp: ['runtime.g.sched', 'runtime.gobuf.bp'],
  hchanElemtype: ['runtime.hchan.elemtype'],
  sudogIsSelect: ['runtime.sudog.isSelect'],
  urlPath: ['net/url.URL.Path'],
  urlRawQuery: ['net/url.URL.RawQuery'],
  responseStatus: ['net/http.response.status'],
  maxConnsPerHost: ['net/http.Transport.MaxConnsPerHost'],
};
const SWISS_MAP = 'internal/runtime/maps.Map.dirPtr';

/** The same in all versions: by the name of a constant in bpf/go.h or bpf/channel.h. */
const CONSTANTS = {
  G_M: 'runtime.g.m',
  REQUEST_METHOD: 'net/http.Request.Method',
  REQUEST_URL: 'net/http.Request.URL',
  REQUEST_HEADER: 'net/http.Request.Header',
  REQUEST_HOST: 'net/http.Request.Host',
  REQUEST_REMOTE_ADDR: 'net/http.Request.RemoteAddr',
  RESPONSE_REQUEST: 'net/http.response.req',
  CHUNK_WRITER_RESPONSE: 'net/http.chunkWriter.res',
  BUFIO_WRITER_WR: 'bufio.Writer.wr',
  HCHAN_BUFFER_LENGTH: 'runtime.hchan.dataqsiz',
  HCHAN_BUFFER: 'runtime.hchan.buf',
  HCHAN_ELEMENT_SIZE: 'runtime.hchan.elemsize',
  SUDOG_G: 'runtime.sudog.g',
} as const;
/** Read by bpf/traceparent.h, one or the other. */
const MAPS: Readonly<Record<string, number>> = {
  'runtime.hmap.flags': 8,
  'runtime.hmap.B': 9,
  'runtime.hmap.noverflow': 10,
  'runtime.hmap.buckets': 16,
  'runtime.hmap.oldbuckets': 24,
  [SWISS_MAP]: 16,
  'internal/runtime/maps.Map.dirLen': 24,
  'internal/runtime/maps.table.groups': 16,
  'internal/runtime/maps.groupsReference.data': 0,
  'internal/runtime/maps.groupsReference.lengthMask': 8,
};

const RECVX = 'runtime.hchan.recvx';
const STATUS = 'runtime.g.atomicstatus';

type Offsets = Readonly<Record<string, number>>;

const headers = readFileSync('bpf/go.h', 'utf8') + readFileSync('bpf/channel.h', 'utf8');
const problems: string[] = [];
const rows = minors().map((minor) => {
  const { goVersion, offsets } = readOffsets(minor);
  problems.push(...check(offsets).map((problem) => `${goVersion}: ${problem}`));
  const fields = Object.entries(FIELDS).map(
    ([name, parts]) => `${name}: ${parts.reduce((sum, part) => sum + (offsets[part] ?? 0), 0)}`,
  );
  const headerMap = offsets[SWISS_MAP] === undefined ? 'hmap' : 'swiss';
  return `  { goVersion: '${goVersion}', minor: ${minor}, ${fields.join(', ')}, headerMap: '${headerMap}' },`;
});
if (problems.length > 0) {
  process.stderr.write(`${OUTPUT} is left as it is; bpf/ must learn this first:\n${problems.join('\n')}\n`);
  process.exitCode = 1;
} else writeFileSync(OUTPUT, table(rows));

function minors(): number[] {
  const found = readdirSync(TOOLCHAINS).flatMap((name) => /^1\.(\d+)$/.exec(name)?.[1] ?? []);
  if (found.length === 0) throw new Error(`${TOOLCHAINS} is empty: run infra/go-toolchains.sh first`);
  return found.map(Number).sort((a, b) => a - b);
}

function readOffsets(minor: number): { goVersion: string; offsets: Offsets } {
  const root = `${TOOLCHAINS}/1.${minor}`;
  const program = `${BUILD}/go/offsets-1.${minor}`;
  mkdirSync(`${BUILD}/go`, { recursive: true });
  const env = {
    PATH: process.env.PATH,
    HOME: `${BUILD}/go`,
    GOCACHE: `${BUILD}/go/cache`,
    GOROOT: root,
    GOENV: 'off',
    GOFLAGS: '',
    GOPROXY: 'off',
    GOTOOLCHAIN: 'local',
    GO111MODULE: 'on',
    CGO_ENABLED: '0',
  };
  const build = ['build', '-buildvcs=false', '-o', program, '.'];
  execFileSync(`${root}/bin/go`, build, { cwd: 'infra/go-offsets', env, stdio: ['ignore', 2, 2] });
  const fields = [
    ...Object.values(FIELDS).flat(),
    ...Object.values(CONSTANTS),
    ...Object.keys(MAPS),
    RECVX,
    STATUS,
  ];
  return JSON.parse(execFileSync(program, fields, { encoding: 'utf8' }));
}

function check(offsets: Offsets): string[] {
  const moved = (field: string, expected: number) =>
    offsets[field] === expected ? [] : [`${field} is at ${offsets[field] ?? 'no place'}, not at ${expected}`];
  const fields = Object.values(FIELDS).flat();
  const missing = fields.filter((field) => !(field in offsets));
  const status = offsets['runtime.g.goid']! - constantIn(headers, 'STATUS_TO_GOID');
  const recvx = offsets['runtime.hchan.elemtype']! + constantIn(headers, 'HCHAN_ELEMTYPE_TO_RECVX');
  return [
    ...missing.map((field) => `${field} is missing`),
    ...Object.entries(CONSTANTS).flatMap(([name, field]) => moved(field, constantIn(headers, name))),
    ...moved(RECVX, recvx),
    ...moved(STATUS, status),
    ...Object.entries(MAPS).flatMap(([field, expected]) => (field in offsets ? moved(field, expected) : [])),
    ...('runtime.hmap.B' in offsets || SWISS_MAP in offsets ? [] : ['its maps are of an unknown kind']),
  ];
}

function constantIn(text: string, name: string): number {
  const value = new RegExp(`^#define ${name} (\\d+)\\b`, 'm').exec(text)?.[1];
  if (value === undefined) throw new Error(`bpf/ has no #define ${name}`);
  return Number(value);
}

function table(lines: readonly string[]): string {
  return [
    '// Generated by infra/go-offsets.ts from the debug data of programs built with these versions. Do not edit.',
    "import type { GoLayout } from './offsets.ts';",
    '',
    '/** By minor, ascending; offsets in bytes, for linux/amd64. */',
    'export const GO_LAYOUTS: readonly GoLayout[] = [',
    ...lines,
    '];',
    '',
  ].join('\n');
}
