// The units as systemd itself reads them.
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { neededFor } from '../../../services/capture/capabilities.ts';
import { captureOptions } from '../../../services/capture/config.ts';
import { correlatorOptions } from '../../../services/correlator/config.ts';
import { optionsOf } from '../../../services/runtime/config.ts';
import { sinkOptions } from '../../../services/sink/config.ts';

const FOLDER = 'infra/systemd';
const UNITS = readdirSync(FOLDER).filter((file) => file.endsWith('.service'));
const HAS_SYSTEMD = spawnSync('systemd-analyze', ['--version']).status === 0;
/** Exposure as `systemd-analyze security` counts it, 0 to 10: capture needs to see and probe other processes. */
const MOST_EXPOSED = { capture: 3.5, other: 2 };

describe.each(UNITS)('%s', (unit) => {
  const role = /flowtag-(\w+)\.service/.exec(unit)![1]!;
  const text = readFileSync(`${FOLDER}/${unit}`, 'utf8');
  const values = (key: string): string[] =>
    [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, v]) => v!);

  it('is read by systemd without a word', ({ skip }) => {
    skip(!HAS_SYSTEMD, 'there is no systemd-analyze here');
    // It looks for the program, which may be elsewhere on this machine.
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', `${FOLDER}/${unit}`], {
      encoding: 'utf8',
    });
    const said = stderr
      .split('\n')
      .filter((line) => line !== '' && !line.includes('/usr/bin/node is not executable'));
    expect(said).toEqual([]);
  });

  it('is as closed as it can be', ({ skip }) => {
    skip(!HAS_SYSTEMD, 'there is no systemd-analyze here');
    const analysis = execFileSync(
      'systemd-analyze',
      ['security', '--offline=true', '--no-pager', `${FOLDER}/${unit}`],
      {
        encoding: 'utf8',
      },
    );
    const exposed = Number(/exposure level for \S+: ([\d.]+)/.exec(analysis)![1]);
    expect(exposed).toBeLessThanOrEqual(role === 'capture' ? MOST_EXPOSED.capture : MOST_EXPOSED.other);
  });

  it('starts its service, in its own directory, as a user with the rights that it needs', () => {
    expect(values('ExecStart')[0]).toMatch(
      new RegExp(`flowtag\\.js ${role} --data-dir /var/lib/flowtag/${role}$`),
    );
    expect(values('StateDirectory')).toEqual([`flowtag/${role}`]);
    expect(values('User')).toEqual(['flowtag']);
    const needed = neededFor({ backend: 'tracepoint', uprobes: 'multi' }).map((name) => `CAP_${name}`);
    const rights = role === 'capture' ? needed.join(' ') : '';
    expect(values('CapabilityBoundingSet')).toEqual([rights]);
    expect(values('AmbientCapabilities').join(' ')).toBe(rights);
  });
});

it('each unit has a port of its own for its operations endpoint', () => {
  const ports = UNITS.map(
    (unit) => /FLOWTAG_OPS_LISTEN=(\S+)/.exec(readFileSync(`${FOLDER}/${unit}`, 'utf8'))![1],
  );
  expect(new Set(ports).size).toBe(UNITS.length);
});

it('the environment file names options that there are', () => {
  const names = [...readFileSync(`${FOLDER}/flowtag.env`, 'utf8').matchAll(/^(\w+)=/gm)].map(
    ([, name]) => name!,
  );
  const known = Object.entries({
    capture: captureOptions,
    correlator: correlatorOptions,
    sink: sinkOptions,
  }).flatMap(([role, schema]) => optionsOf(role, schema).map(({ variable }) => variable));
  expect(names.filter((name) => !known.includes(name))).toEqual([]);
});
