// What Prometheus reads: the counters of the heartbeat under their metric names, and those of the process. The only
// importer of prom-client.
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { labelsOf, metricsOf, type Role, samplesOf, zerosOf } from '../../schemas/metrics.ts';
import type { Status } from '../../schemas/status.ts';
import { VERSION } from './version.ts';

export interface Health extends Pick<Status, 'state' | 'notes' | 'counters'> {}

export const PROMETHEUS_TEXT = Registry.PROMETHEUS_CONTENT_TYPE;

/** Degraded counts as not ready: the notes say what is in the way. */
export function isReady({ state }: Health): boolean {
  return state === 'ready';
}

/** What /metrics says of a health. */
export function createMetrics(role: Role, host: string): (health: Health) => Promise<string> {
  const registry = new Registry();
  registry.setDefaultLabels({ host });
  collectDefaultMetrics({ register: registry });
  const metrics = new Map<string, Counter | Gauge>();
  for (const metric of metricsOf(role)) {
    if (metrics.has(metric.name)) continue;
    const { name, help } = metric;
    const options = { name, help, labelNames: labelsOf(metric), registers: [registry] };
    metrics.set(name, metric.type === 'counter' ? new Counter(options) : new Gauge(options));
  }
  return async (health) => {
    for (const metric of metrics.values()) metric.reset();
    const own = [
      { name: `flowtag_${role}_ready`, labels: {}, value: isReady(health) ? 1 : 0 },
      { name: `flowtag_${role}_state`, labels: { state: health.state }, value: 1 },
      { name: `flowtag_${role}_info`, labels: { version: VERSION }, value: 1 },
    ];
    for (const { name, labels, value } of [...zerosOf(role), ...own, ...samplesOf(role, health.counters)])
      metrics.get(name)!.inc(labels, value);
    return registry.metrics();
  };
}
