// The manifests against the types of the Kubernetes API: the compiler refuses a field that is missing, misspelled or of
// another type. And against flowtag itself: options, roles, capabilities.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { ZodObject } from 'zod';
import { neededFor } from '../../../services/capture/capabilities.ts';
import { captureOptions } from '../../../services/capture/config.ts';
import { correlatorOptions } from '../../../services/correlator/config.ts';
import { optionsOf } from '../../../services/runtime/config.ts';
import { sinkOptions } from '../../../services/sink/config.ts';

const FOLDER = 'infra/kubernetes';
const CHECKED = 'build/kubernetes-types';
const TYPES: Readonly<Record<string, string>> = {
  'v1 Namespace': 'core/v1',
  'v1 ConfigMap': 'core/v1',
  'apps/v1 DaemonSet': 'apps/v1',
  'apps/v1 Deployment': 'apps/v1',
  'networking.k8s.io/v1 NetworkPolicy': 'networking/v1',
  'policy/v1 PodDisruptionBudget': 'policy/v1',
};
const OPTIONS: Readonly<Record<string, ZodObject>> = {
  capture: captureOptions,
  correlator: correlatorOptions,
  sink: sinkOptions,
};

// biome-ignore lint/suspicious/noExplicitAny: the compiler checks the shape, by the types of the API
type Manifest = any;
const list: { resources: string[] } = documentsOf('kustomization.yaml')[0];
const manifests = list.resources.flatMap(documentsOf);
const workloads = manifests.filter(({ kind }) => kind === 'DaemonSet' || kind === 'Deployment');

function documentsOf(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(`${FOLDER}/${file}`, 'utf8')).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS();
  });
}

beforeAll(() => mkdirSync(CHECKED, { recursive: true }));
afterAll(() => rmSync(CHECKED, { recursive: true, force: true }));

/** What the compiler says of these. */
function compile(name: string, objects: readonly Manifest[]): string {
  const lines = objects.map((object, i) => {
    const { apiVersion, kind } = object;
    const from = TYPES[`${apiVersion} ${kind}`];
    expect(from, `${apiVersion} ${kind}`).toBeDefined();
    return `import type { ${kind} as T${i} } from 'kubernetes-types/${from}';\nexport const o${i}: T${i} = ${JSON.stringify(object)};\n`;
  });
  writeFileSync(`${CHECKED}/${name}.ts`, lines.join(''));
  const options = [
    '--noEmit',
    '--ignoreConfig',
    '--strict',
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
    '--target',
    'es2023',
    '--types',
    '',
  ];
  try {
    execFileSync('node_modules/.bin/tsc', [...options, `${CHECKED}/${name}.ts`], { encoding: 'utf8' });
    return '';
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

describe('the manifests', () => {
  it('are what the API takes', () => {
    expect(compile('all', manifests)).toBe('');
  });

  it('would be refused with a field that is misspelled', () => {
    const wrong = structuredClone(workloads[0]);
    wrong.spec.template.spec.containers[0].readynessProbe = {};
    expect(compile('wrong', [wrong])).toContain('readynessProbe');
  });

  it('are all named by the kustomization, but for what needs more than Kubernetes', () => {
    const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));
    const others = ['kustomization.yaml', 'correlator-scaling.yaml', 'nats-values.yaml'];
    expect([...list.resources, ...others].sort()).toEqual(files.sort());
  });
});

describe.each(workloads.map((workload) => [workload.metadata.name as string, workload] as const))(
  '%s',
  (role, { spec }) => {
    const pod = spec.template.spec;
    const [container] = pod.containers;

    it('runs its service with options that it has', () => {
      expect(container.args[0]).toBe(role);
      const common = Object.keys(manifests.find(({ kind }) => kind === 'ConfigMap').data);
      const names = [...common, ...container.env.map(({ name }: { name: string }) => name)];
      const known = optionsOf(role, OPTIONS[role]!).map(({ variable }) => variable);
      expect(names.filter((name) => !known.includes(name))).toEqual([]);
    });

    it('is asked whether it lives and is ready, where it answers', () => {
      const ops = manifests.find(({ kind }) => kind === 'ConfigMap').data.FLOWTAG_OPS_LISTEN as string;
      const [{ name, containerPort }] = container.ports;
      expect([name, containerPort]).toEqual(['ops', Number(ops.split(':')[1])]);
      expect(container.livenessProbe.httpGet).toEqual({ path: '/healthz', port: 'ops' });
      expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'ops' });
      expect(spec.template.metadata.annotations['prometheus.io/port']).toBe(`${containerPort}`);
    });

    it('selects its own pods, mounts what it has, and has no more rights than it needs', () => {
      expect(spec.template.metadata.labels).toEqual(spec.selector.matchLabels);
      const names = (things: { name: string }[]): string[] => things.map(({ name }) => name).sort();
      expect(names(container.volumeMounts)).toEqual(names(pod.volumes));
      const { capabilities, privileged, readOnlyRootFilesystem } = container.securityContext;
      expect([privileged ?? false, readOnlyRootFilesystem, capabilities.drop]).toEqual([
        false,
        true,
        ['ALL'],
      ]);
      const needed = role === 'capture' ? neededFor({ backend: 'tracepoint', uprobes: 'multi' }) : [];
      expect(capabilities.add ?? []).toEqual(needed);
      expect(pod.automountServiceAccountToken).toBe(false);
      expect(pod.hostPID ?? false).toBe(role === 'capture');
    });
  },
);

it('scaling goes by a metric that the correlator has, and no further than its partitions', () => {
  const [{ spec }] = documentsOf('correlator-scaling.yaml');
  const [, metric] = /sum\((\w+)\)/.exec(spec.triggers[0].metadata.query)!;
  expect(readFileSync('docs/metrics.md', 'utf8')).toContain(`\`${metric}\` | gauge`);
  expect(workloads.map(({ metadata }) => metadata.name)).toContain(spec.scaleTargetRef.name);
  expect(spec.maxReplicaCount).toBe(32);
});
