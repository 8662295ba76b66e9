import { expect, test } from 'vitest';
import { labelsOf, metricsOf, ROLES, samplesOf, zerosOf } from '../../../schemas/metrics.ts';
import { COUNTER } from '../../../services/capture/bpf/layout.gen.ts';
import { faultsOf, ledgerOf } from '../../../services/capture/ledger.ts';
import { Join } from '../../../services/correlator/join.ts';
import { partitionCounters } from '../../../services/correlator/partition-counters.ts';
import { Pipeline } from '../../../services/correlator/pipeline.ts';

test('a reason becomes a label, whole', () => {
  expect(samplesOf('capture', { 'dropped.ring_full.socket': 3, 'hits.dial': 9 })).toEqual([
    { name: 'flowtag_capture_dropped_events_total', labels: { reason: 'ring_full.socket' }, value: 3 },
    { name: 'flowtag_capture_probe_hits_total', labels: { hook: 'dial' }, value: 9 },
  ]);
});

test('a counter with a name of its own is no reason of a family', () => {
  const [dropped, refused] = samplesOf('sink', { dead_letters_dropped: 1, dead_letters_unreadable: 2 });
  expect(dropped).toEqual({
    name: 'flowtag_sink_dropped_messages_total',
    labels: { reason: 'dead_letter' },
    value: 1,
  });
  expect(refused).toEqual({
    name: 'flowtag_sink_dead_letters_total',
    labels: { reason: 'unreadable' },
    value: 2,
  });
});

test('a counter that the list lacks is shown all the same', () => {
  expect(samplesOf('store', { brand_new: 5 })).toEqual([
    { name: 'flowtag_store_other', labels: { counter: 'brand_new' }, value: 5 },
  ]);
});

test('every loss that a service knows of is shown as 0 before it happens', () => {
  const names = Object.keys(COUNTER);
  const all = ledgerOf({
    kernel: Object.fromEntries(names.map((name) => [name, 1])) as never,
    unknownRecords: 1,
    undelivered: {
      'queue_full.uprobe': 1,
      'queue_full.kprobe': 1,
      'spool_full.uprobe': 1,
      'spool_full.kprobe': 1,
    },
  }).dropped;
  const shown = zerosOf('capture').filter(({ name }) => name === 'flowtag_capture_dropped_events_total');
  expect(shown.map(({ labels }) => labels.reason).sort()).toEqual(Object.keys(all).sort());
});

test('what the correlator and capture count has a name', () => {
  const limits = { windowNs: 1n, lateNs: 1n, maxRequests: 1, maxBoots: 1, silentNs: 1n };
  const join = new Join(limits);
  const takeover = { replayFrom: 1, emitFrom: 1, join: undefined, emitted: undefined };
  const pipeline = new Pipeline(join, takeover as never, 'created', () => undefined);
  const others = (role: 'capture' | 'correlator', counters: Record<string, number>): string[] =>
    samplesOf(role, counters)
      .filter(({ name }) => name.endsWith('_other'))
      .map(({ labels }) => labels.counter!);
  expect(others('correlator', partitionCounters(join, pipeline))).toEqual([]);
  const kernel = Object.fromEntries(Object.keys(COUNTER).map((name) => [name, 1]));
  expect(others('capture', faultsOf(kernel as never))).toEqual([]);
});

test('names and labels are what Prometheus takes, and the same wherever a name stands', () => {
  for (const role of ROLES) {
    const labels = new Map<string, string>();
    for (const metric of metricsOf(role)) {
      expect(metric.name).toMatch(new RegExp(`^flowtag_${role}_[a-z][a-z0-9_]*$`));
      expect(metric.name.endsWith('_total')).toBe(metric.type === 'counter');
      if (metric.name.includes('_dropped_')) expect(labelsOf(metric), metric.name).toContain('reason');
      const shown = `${metric.type} ${labelsOf(metric)} ${metric.help}`;
      expect(labels.get(metric.name) ?? shown, metric.name).toBe(shown);
      labels.set(metric.name, shown);
    }
  }
});
