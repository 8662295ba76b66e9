// Flags and environment through one zod object. The only file that reads process.env.
import { hostname } from 'node:os';
import { z } from 'zod';
import { ConfigError } from './errors.ts';

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
const LISTEN = /^(off|(\[[0-9a-f:.]+\]|[^\s:[\]]+):\d{1,5})$/;
const SERVERS = /^(nats|tls):\/\/[^\s,]+(,(nats|tls):\/\/[^\s,]+)*$/;

/** Options of every service; their environment names carry no role. */
export const sharedOptions = {
  server: z
    .string()
    .regex(SERVERS, 'is not a nats:// or tls:// URL, or several joined by commas')
    .default('nats://127.0.0.1:4222')
    .describe('NATS server, or several joined by commas'),
  creds: z
    .string()
    .optional()
    .describe('file with the credential that `flowtag enroll` made: who this process is on the bus'),
  tlsCa: z
    .string()
    .optional()
    .describe("file with the certificates that vouch for the server's; nothing is sent without TLS then"),
  dataDir: z.string().min(1).default('.flowtag').describe('directory for everything kept on this machine'),
  host: z
    .string()
    .min(1)
    .refine((name) => Buffer.byteLength(name) <= 255, 'is longer than 255 bytes')
    .default(hostname())
    .describe('name of this host on the bus'),
  opsListen: z
    .string()
    .regex(LISTEN, 'is neither HOST:PORT nor off')
    .default('off')
    .describe('where /healthz, /readyz and /metrics are served: HOST:PORT, or off; one address a process')
    .meta({ example: '127.0.0.1:9470' }),
  logLevel: z.enum(LOG_LEVELS).default('info').describe('least severe log lines to write'),
};

/** The roles that load options; each owns a prefix, so that one environment file may configure all of them. */
const ROLES = ['capture', 'correlator', 'sink', 'store', 'cli', 'doctor'];

export interface Option {
  readonly key: string;
  readonly flag: string;
  readonly variable: string;
  readonly list: boolean;
  readonly type: string; // of a value, or of one element of a list
  readonly example: string;
  /** What it is for. */
  readonly text: string;
  /** Value when it is not given; undefined when it has none. */
  readonly preset: unknown;
}

/** Every option of a role, in the order of its schema. */
export function optionsOf(role: string, schema: z.ZodObject): Option[] {
  return Object.entries(schema.shape).map(([key, field]) => describe(role, key, field as z.ZodType));
}

/**
 * Flag wins over environment wins over default; an empty variable counts as not set. Lists: the flag repeated, or
 * the variable comma-separated. Booleans: bare flag, or `=false`. Throws ONE ConfigError with all problems.
 */
export function loadConfig<S extends z.ZodObject>(
  role: string,
  schema: S,
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): z.infer<S> {
  const options = optionsOf(role, schema);
  const problems: string[] = [];
  const raw: Record<string, unknown> = {
    ...readEnvironment(role, options, env, problems),
    ...readFlags(role, options, argv, problems),
  };
  const parsed = schema.safeParse(raw);
  for (const issue of parsed.error?.issues ?? []) {
    const option = options.find(({ key }) => key === issue.path[0]);
    problems.push(option ? `${nameOf(option)}: ${issue.message}; example: ${option.example}` : issue.message);
  }
  if (problems.length > 0 || !parsed.success) {
    throw new ConfigError(
      'CONFIG',
      `flowtag ${role} cannot start:\n${problems.map((p) => `  ${p}`).join('\n')}`,
    );
  }
  return parsed.data;
}

function nameOf(option: Option): string {
  return `${option.flag} (${option.variable})`;
}

function describe(role: string, key: string, field: z.ZodType): Option {
  const kebab = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const prefix = key in sharedOptions ? 'FLOWTAG_' : prefixOf(role);
  const kind = unwrap(field);
  const list = kind.def.type === 'array';
  const type = list ? unwrap((kind as z.ZodArray<z.ZodType>).element).def.type : kind.def.type;
  return {
    key,
    flag: `--${kebab}`,
    variable: prefix + kebab.replaceAll('-', '_').toUpperCase(),
    list,
    type,
    example: exampleOf(`--${kebab}`, field, kind, type),
    text: field.description ?? '',
    preset: field.safeParse(undefined).data,
  };
}

function prefixOf(role: string): string {
  return `FLOWTAG_${role.replaceAll('-', '_').toUpperCase()}_`;
}

/** The example in the schema's metadata, else the default, else a value of the type. */
function exampleOf(flag: string, field: z.ZodType, kind: z.ZodType, type: string): string {
  const given = field.meta()?.example;
  if (given !== undefined) return `${flag} ${given}`;
  if (type === 'boolean') return flag;
  const fallback = kind.def.type === 'array' ? undefined : field.safeParse(undefined).data;
  if (fallback !== undefined && fallback !== null) return `${flag} ${fallback}`;
  return `${flag} ${type === 'number' || type === 'int' ? '1' : 'VALUE'}`;
}

/** Through defaults, optionals and pipes to the type that says how text is to be read. */
function unwrap(field: z.ZodType): z.ZodType {
  const def = field.def as { type: string; innerType?: z.ZodType; in?: z.ZodType; out?: z.ZodType };
  if (def.innerType) return unwrap(def.innerType);
  if (def.type === 'pipe') return unwrap(unwrap(def.in!).def.type === 'transform' ? def.out! : def.in!);
  return field;
}

function readEnvironment(
  role: string,
  options: readonly Option[],
  env: NodeJS.ProcessEnv,
  problems: string[],
): Record<string, unknown> {
  const raw: Record<string, unknown> = {};
  const byVariable = new Map(options.map((option) => [option.variable, option]));
  const shared = new Set(Object.keys(sharedOptions).map((key) => describe(role, key, z.string()).variable));
  const foreign = ROLES.filter((other) => other !== role).map(prefixOf);
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('FLOWTAG_') || text === undefined || text === '') continue;
    const option = byVariable.get(name);
    if (option) raw[option.key] = readTexts(option, option.list ? text.split(',') : [text]);
    else if (!shared.has(name) && !foreign.some((prefix) => name.startsWith(prefix)))
      problems.push(`${name}: no such variable; known: ${[...byVariable.keys()].join(', ')}`);
  }
  return raw;
}

function readFlags(
  role: string,
  options: readonly Option[],
  argv: readonly string[],
  problems: string[],
): Record<string, unknown> {
  const texts = new Map<Option, string[]>();
  const known = options.map(({ flag }) => flag).join(', ');
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    const [flag, inline] = splitOnce(word);
    const option = options.find((candidate) => candidate.flag === flag);
    if (!option) {
      const what = word.startsWith('-') ? 'no such flag' : 'unexpected argument';
      problems.push(`${flag}: ${what}; flowtag ${role} knows: ${known}`);
      if (word.startsWith('--') && inline === undefined && isValue(argv[at + 1])) at++;
      continue;
    }
    let text = inline;
    if (text === undefined && option.type === 'boolean') text = 'true';
    if (text === undefined && isValue(argv[at + 1])) text = argv[++at];
    if (text === undefined) problems.push(`${flag}: needs a value; example: ${option.example}`);
    else texts.set(option, [...(texts.get(option) ?? []), text]);
  }
  return Object.fromEntries([...texts].map(([option, list]) => [option.key, readTexts(option, list)]));
}

function splitOnce(word: string): [string, string | undefined] {
  const at = word.startsWith('--') ? word.indexOf('=') : -1;
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

function isValue(word: string | undefined): boolean {
  return word !== undefined && !word.startsWith('--');
}

function readTexts(option: Option, texts: readonly string[]): unknown {
  if (!option.list) return convert(option.type, texts.at(-1)!);
  return texts
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => convert(option.type, text));
}

/** Text as the type asked for; what does not convert stays text, so that zod reports it. */
function convert(type: string, text: string): unknown {
  if (type === 'boolean') return /^(true|1)$/.test(text) ? true : /^(false|0)$/.test(text) ? false : text;
  if (type === 'number') return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
  if (type === 'bigint') return /^-?\d+$/.test(text) ? BigInt(text) : text;
  return text;
}
