// The part of `npm run test:kernels` that runs in the virtual machine: writes what it sees to a file.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { release, uptime } from 'node:os';
import { parseArgs } from 'node:util';
import { check } from '../../schemas/check.ts';
import type { Backend } from '../../services/capture/backends.ts';
import { runBackend } from './backend.ts';
import { runPipeline } from './pipeline.ts';
import { type BackendResult, type DoctorResult, type KernelResult, LOCKDOWNS } from './result.ts';
import { tryRights } from './rights.ts';
import { runSideBySide } from './side-by-side.ts';

const DOCTOR_LIMIT_MS = 120_000;
const LOCKDOWN = '/sys/kernel/security/lockdown';
const PIPELINE_REQUESTS = 20;
const bootSeconds = uptime() - process.uptime();
const { values } = parseArgs({
  options: {
    backend: { type: 'string', multiple: true, default: ['auto'] },
    case: { type: 'string', multiple: true, default: [] },
    part: { type: 'string', multiple: true, default: [] },
    program: { type: 'string', multiple: true, default: [] },
    requests: { type: 'string', default: '' },
    clients: { type: 'string', default: '' },
    result: { type: 'string', default: '' },
  },
});

const doctor = await runDoctor();
say(`doctor: exit code ${doctor.exitCode} after ${doctor.seconds.toFixed(1)} s`);
const backends: BackendResult[] = [];
for (const program of values.program)
  for (const wanted of values.backend) {
    const outcome = await runBackend(wanted as Backend | 'auto', {
      cases: values.case,
      requests: Number(values.requests),
      clients: Number(values.clients),
      program,
    });
    say(`${wanted}: ${outcome.failure ?? outcome.backend} after ${outcome.seconds.toFixed(1)} s`);
    backends.push(outcome);
  }
const supported = backends.some(({ failure }) => failure === undefined);
const multi = backends.some(({ uprobes }) => uprobes === 'multi');
const wants = (part: string): boolean => supported && values.part.includes(part);
const pipeline = wants('pipeline') ? await runPipeline(values.case, PIPELINE_REQUESTS) : undefined;
if (pipeline) say(`pipeline: ${pipeline.failure ?? 'done'} after ${pipeline.seconds.toFixed(1)} s`);
const rightsBeganMs = performance.now();
const rights = wants('rights') ? await tryRights(multi ? ['multi', 'perf'] : ['perf']) : [];
if (rights.length > 0) say(`rights: after ${((performance.now() - rightsBeganMs) / 1000).toFixed(1)} s`);
const sideBySide = wants('script')
  ? await runSideBySide(values.program[0]!, Number(values.clients), Number(values.requests))
  : undefined;
if (sideBySide) say(`script: ${sideBySide.failure ?? 'done'} after ${sideBySide.seconds.toFixed(1)} s`);
const result: KernelResult = {
  release: release(),
  bootSeconds,
  doctor,
  backends,
  rights,
  ...(pipeline && { pipeline }),
  ...(sideBySide && { sideBySide }),
  lockdown: wants('lockdown') ? await runLockdowns() : {},
};
writeFileSync(values.result, `${JSON.stringify(result, null, 1)}\n`);
process.exit(0);

/** From the weaker to the stronger: the kernel does not go back. */
async function runLockdowns(): Promise<KernelResult['lockdown']> {
  const results: { [name in (typeof LOCKDOWNS)[number]]?: DoctorResult } = {};
  for (const name of LOCKDOWNS) {
    writeFileSync(LOCKDOWN, name);
    if (!readFileSync(LOCKDOWN, 'latin1').includes(`[${name}]`)) throw new Error(`no lockdown=${name}`);
    results[name] = await runDoctor();
    say(`doctor under ${name}: exit code ${results[name].exitCode}`);
  }
  return results;
}

function runDoctor(): Promise<DoctorResult> {
  const beganMs = performance.now();
  const args = ['bin/flowtag.js', 'doctor', '-o', 'json'];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { timeout: DOCTOR_LIMIT_MS }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : error.code;
      if (typeof exitCode !== 'number') return reject(new Error(`doctor: ${error?.message} ${stderr}`));
      if (stderr !== '') say(`doctor: ${stderr.trim()}`);
      const lines = stdout.split('\n').filter(Boolean);
      resolve({
        exitCode,
        seconds: (performance.now() - beganMs) / 1000,
        checks: lines.map((line) => check.parse(JSON.parse(line))),
      });
    });
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
