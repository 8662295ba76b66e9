// The rules of the source tree that no compiler checks: which files may use a dependency (doors), which folder
// may import which (arrows), and which files do no I/O and read no clock (pure).
import { expect, test } from 'vitest';
import { parseSource, readSources, typeImportsOf } from './sources.ts';

const SOURCES = readSources(['schemas', 'services', 'bin', 'bpf', 'infra']);

/** Which paths, by how they begin, may load a module. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  nats: ['services/runtime/bus'],
  koffi: ['services/capture/libbpf.ts', 'services/sink/embedded/'],
  msgpackr: ['schemas/codec.ts'],
  pino: ['services/runtime/log.ts'],
  'prom-client': ['services/runtime/metrics.ts'],
  'pino-pretty': ['services/runtime/log.ts'],
  '@clickhouse/client': ['services/sink/store-client.ts'],
  chdb: ['services/sink/embedded/'],
  commander: ['services/cli/'],
};
const MAY_READ_ENVIRONMENT = ['services/runtime/config.ts', 'bin/', 'infra/'];

/** Values in, values out. What they import must be pure as well, so only the cores need a name here. */
const PURE = [
  'schemas/',
  'services/runtime/bus-lease-plan.ts',
  'services/runtime/bus-subject.ts',
  'services/runtime/credential.ts',
  'services/runtime/bus-window.ts',
  'services/runtime/server-url.ts',
  'services/capture/bpf/btf.ts',
  'services/capture/budget.ts',
  'services/capture/cgroup.ts',
  'services/capture/event-decoder.ts',
  'services/capture/go/',
  'services/capture/message-queue.ts',
  'services/capture/ring-buffer.ts',
  'services/capture/spool.ts',
  'services/cli/endpoint.ts',
  'services/cli/enrolled.ts',
  'services/cli/escape.ts',
  'services/cli/format.ts',
  'services/cli/in-use.ts',
  'services/cli/lookup-key.ts',
  'services/cli/time-argument.ts',
  'services/correlator/checkpoint.ts',
  'services/correlator/community-id.ts',
  'services/correlator/early-batches.ts',
  'services/correlator/flow-row.ts',
  'services/correlator/join.ts',
  'services/correlator/number-ranges.ts',
  'services/correlator/request-budget.ts',
  'services/correlator/request-row.ts',
  'services/correlator/request-uses.ts',
  'services/correlator/takeover.ts',
  'services/sink/block.ts',
  'services/sink/embedded/request.ts',
  'services/sink/embedded/statement.ts',
  'services/sink/message.ts',
  'services/sink/queries.ts',
  'services/sink/row-binary.ts',
  'services/sink/schema.ts',
];
const NOT_PURE = [
  'services/capture/go/read-go-binary.ts',
  'services/capture/go/is-go-http-server.ts',
  'services/capture/go/symbol-file.ts',
  'services/capture/go/symbolizer.ts',
];
const PURE_MODULES = /^(zod|msgpackr|node:(buffer|crypto|util|zlib))$/;
const IMPURE =
  /\bDate\.now\b|\bnew Date\(\)|\bperformance\.|\bset(Timeout|Interval|Immediate)\b|\bMath\.random\b|\brandom(UUID|Bytes)\b|\bconsole\.|\b(createConnection|createServer|new Socket)\b|(?<!['".\w])process\.(argv|cwd|env|hrtime|kill|on|std\w+)\b/;

test('each dependency has one door', () => {
  const breaches = SOURCES.flatMap(({ path, imports }) =>
    Object.entries(DOORS)
      .filter(([module, only]) => !isUnder(path, only) && imports.some((name) => isOf(name, module)))
      .map(([module, only]) => `${path} imports ${module}; only ${only.join(', ')} may`),
  );
  expect(breaches).toEqual([]);
});

test('only the configuration reads the environment', () => {
  const breaches = SOURCES.filter(
    (s) => /\bprocess\.env\b/.test(s.code) && !isUnder(s.path, MAY_READ_ENVIRONMENT),
  );
  expect(breaches.map(({ path }) => `${path} reads process.env; add an option to its config.ts`)).toEqual([]);
});

test('arrows: schemas ← services/runtime ← services/X, types included', () => {
  const breaches = SOURCES.flatMap(({ path }) => {
    const allowed = foldersOpenTo(path);
    return typeImportsOf(path)
      .filter((name) => allowed.length > 0 && /^(schemas|services|bpf|bin|infra|test)\//.test(name))
      .filter((name) => !allowed.some((folder) => name.startsWith(`${folder}/`)))
      .map((name) => `${path} imports ${name}; it may import ${allowed.join(', ')}`);
  });
  expect(breaches).toEqual([]);
});

test('pure files do no I/O and read no clock, and nor does what they import', () => {
  const byPath = new Map(SOURCES.map((source) => [source.path, source]));
  const queue = SOURCES.map(({ path }) => path).filter(
    (path) => isUnder(path, PURE) && !isUnder(path, NOT_PURE),
  );
  const reached = new Map(queue.map((path) => [path, path]));
  const breaches: string[] = [];
  for (const path of queue) {
    const source = byPath.get(path);
    const via = reached.get(path) === path ? path : `${path} (imported by ${reached.get(path)})`;
    const clock = source?.code.match(IMPURE);
    if (clock) breaches.push(`${via} uses ${clock[0]}: pass the value in as an argument`);
    for (const name of source?.imports ?? []) {
      if (!byPath.has(name)) {
        if (!PURE_MODULES.test(name)) breaches.push(`${via} imports ${name}: move the I/O to its caller`);
      } else if (!reached.has(name)) {
        reached.set(name, path);
        queue.push(name);
      }
    }
  }
  expect(breaches).toEqual([]);
});

test('the lists are up to date', () => {
  const paths = [...Object.values(DOORS).flat(), ...MAY_READ_ENVIRONMENT, ...PURE, ...NOT_PURE];
  expect(paths.filter((path) => !SOURCES.some((source) => isUnder(source.path, [path])))).toEqual([]);
  const loaded = SOURCES.flatMap(({ imports }) => imports);
  expect(Object.keys(DOORS).filter((module) => !loaded.some((name) => isOf(name, module)))).toEqual([]);
});

test('the reader of sources sees every way to load a module', () => {
  const text = [
    "import type { A } from 'types-only';",
    "import { b } from './b.ts';",
    "export { c } from '../c.ts';",
    "const d = await import('d');",
    "const e = createRequire(import.meta.url)('not seen'), f = require('f');",
    "// import g from 'g';",
  ].join('\n');
  expect(parseSource('x/y/z.ts', text).imports).toEqual(['x/y/b.ts', 'x/c.ts', 'd', 'f']);
});

function foldersOpenTo(path: string): string[] {
  if (path.startsWith('schemas/')) return ['schemas'];
  const own = /^services\/[^/]+/.exec(path)?.[0];
  if (own === undefined) return [];
  return [...new Set(['schemas', 'services/runtime', own])];
}

function isUnder(path: string, beginnings: readonly string[]): boolean {
  return beginnings.some((beginning) => path.startsWith(beginning));
}

function isOf(name: string, module: string): boolean {
  return name === module || name.startsWith(`${module}/`);
}
