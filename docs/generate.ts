// Writes docs/reference.md and docs/metrics.md from the contracts and the options of the services; `--check` compares.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { z } from 'zod';
import { CALLER_COLUMNS, KPROBE_COLUMNS, PROCESS_COLUMNS, UPROBE_COLUMNS } from '../schemas/events.ts';
import { labelsOf, metricsOf, ROLES } from '../schemas/metrics.ts';
import {
  ACCOUNT_OF,
  BUS_ROLES,
  type Permissions,
  permissionsOf,
  sitePermissions,
} from '../schemas/permissions.ts';
import { FLOW_FIELDS, REQUEST_FIELDS } from '../schemas/rows.ts';
import { captureOptions } from '../services/capture/config.ts';
import { correlatorOptions, provisionOptions } from '../services/correlator/config.ts';
import { type Option, optionsOf, sharedOptions } from '../services/runtime/config.ts';
import { sinkOptions } from '../services/sink/config.ts';

const reference = `# Reference

Generated from the sources by docs/generate.ts.

## Configuration

Flags win over the environment, the environment over defaults. Lists: the flag repeated, or the variable comma-separated.
An unknown \`FLOWTAG_*\` name, or a value that is not valid, refuses the start; all problems are said at once.

${options('Every service', optionsOf('', z.object(sharedOptions)))}
${options('capture', own('capture', captureOptions))}
${options('correlator', own('correlator', correlatorOptions))}
${options(
  'provision',
  own('correlator', provisionOptions).filter(({ key }) => !(key in correlatorOptions.shape)),
)}
${options('sink', own('sink', sinkOptions))}
## Permissions

What each role may publish and subscribe on a server with access control, as \`flowtag enroll\` writes it; \`NAME\` is the
identity's name ([threat-model.md](threat-model.md)).

${permissions()}
## Messages

MessagePack; the header \`Flowtag-Schema\` names schema and version. Times are Unix epoch nanoseconds, addresses canonical
text (RFC 5952 for IPv6, IPv4-mapped addresses as IPv4). Subjects: schemas/subjects.ts.

${fields('Flow', 'flowtag.flow.<host>.<service>', FLOW_FIELDS)}
${fields('Finished request', 'flowtag.request.<host>.<service>', REQUEST_FIELDS)}
${fields('Request events (columns)', 'flowtag.ev.uprobe.<partition>.<host>', UPROBE_COLUMNS)}
${fields('Socket events (columns)', 'flowtag.ev.kprobe.<partition>.<host>', KPROBE_COLUMNS)}
${fields('Processes of a batch (columns)', 'both event subjects', PROCESS_COLUMNS)}
${fields('Callers of a batch (columns)', 'flowtag.ev.kprobe.<partition>.<host>', CALLER_COLUMNS)}`;

const metrics = `# Metrics

Generated from schemas/metrics.ts by docs/generate.ts.

\`--ops-listen HOST:PORT\` makes a service serve them on \`/metrics\`. Each has the label \`host\`. Counters are cumulative
since the service started, and the same as in its heartbeat on the bus. With them come \`process_*\` and \`nodejs_*\`: CPU,
memory, event loop lag and garbage collection of the process.

${ROLES.map(metricTable).join('\n')}`;

for (const [output, text] of [
  ['docs/reference.md', reference],
  ['docs/metrics.md', metrics],
] as const) {
  if (!process.argv.includes('--check')) writeFileSync(output, text);
  else if (!existsSync(output) || readFileSync(output, 'utf8') !== text) {
    process.stderr.write(`${output} is out of step: run \`npx tsx docs/generate.ts\` and commit it\n`);
    process.exitCode = 1;
  }
}

/** One line a metric: several counters may be one, told apart by a label. */
function metricTable(role: (typeof ROLES)[number]): string {
  const byName = new Map(metricsOf(role).map((metric) => [metric.name, metric]));
  const rows = [...byName.values()].map((metric) => {
    const labels = labelsOf(metric).map((label) => `\`${label}\``);
    return `| \`${metric.name}\` | ${metric.type} | ${labels.join(', ')} | ${metric.help} |`;
  });
  return `## ${role}\n\n| metric | type | labels | what |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function permissions(): string {
  const cell = (subjects: readonly string[]) => subjects.map((subject) => `\`${subject}\``).join(' ');
  const row = (role: string, account: string, { publish, subscribe }: Permissions) =>
    `| ${role} | \`${account}\` | ${cell(publish)} | ${cell(subscribe)} |`;
  const rows = [
    ...BUS_ROLES.map((role) => row(role, ACCOUNT_OF[role], permissionsOf(role, 'NAME'))),
    row('site', ACCOUNT_OF.correlator, sitePermissions('NAME')),
  ];
  return `| role | account | publish | subscribe |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function own(role: string, schema: z.ZodObject): Option[] {
  return optionsOf(role, schema).filter(({ key }) => !(key in sharedOptions));
}

function options(title: string, described: readonly Option[]): string {
  const rows = described.map(({ flag, variable, text, preset }) => {
    const shown =
      preset === hostname() ? 'the host name' : preset === undefined ? '' : `\`${JSON.stringify(preset)}\``;
    return `| \`${flag}\` | \`${variable}\` | ${shown} | ${text} |`;
  });
  return `### ${title}\n\n| flag | variable | default | what |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function fields(title: string, subject: string, types: Readonly<Record<string, string>>): string {
  const rows = Object.entries(types).map(([name, type]) => `| \`${name}\` | ${type} |`);
  return `### ${title}\n\n\`${subject}\`\n\n| field | type |\n|---|---|\n${rows.join('\n')}\n`;
}
