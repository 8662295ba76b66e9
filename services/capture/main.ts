// The capture daemon: loads the probes, finds targets, drains the ring and publishes batches of events.

import { type Bus, connectBus } from '../runtime/bus.ts';
import { nowNs } from '../runtime/clock.ts';
import { startHeartbeat } from '../runtime/heartbeat.ts';
import { startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import { type CaptureOptions, captureOptions, queueBytes, ringBytes } from './config.ts';
import { Discovery } from './discovery.ts';
import { Drain } from './drain.ts';
import { Executables } from './executables.ts';
import { faultsOf, Losses } from './ledger.ts';
import { BPF_OBJECT, Probes } from './probes.ts';
import { listProcesses, readBootId } from './proc.ts';
import { repeat } from './repeat.ts';
import { AUTO, parseTarget } from './targets.ts';

const FLUSH_MS = 5_000;
const MAX_NOTES = 100;

export function main(argv: readonly string[]): Promise<number> {
  return startService('capture', captureOptions, argv, run);
}

async function run(config: CaptureOptions, log: Logger, signal: AbortSignal): Promise<void> {
  const probes = await Probes.load({
    objectPath: BPF_OBJECT,
    ringBytes: ringBytes(config),
    captureQuery: config.query,
    maxContexts: config.maxContexts,
    uprobes: config.uprobes,
  });
  log.info({ backend: probes.backend, uprobes: probes.uprobes }, 'probes loaded');
  let bus: Bus | undefined;
  try {
    bus = await connectBus({ server: config.server, name: `flowtag capture ${config.host}`, signal, log });
    await capture(config, probes, bus, log, signal);
  } finally {
    await probes.close();
    await bus?.close();
  }
}

async function capture(
  config: CaptureOptions,
  probes: Probes,
  bus: Bus,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const startedNs = nowNs();
  const queueDroppedRows = { uprobe: 0, kprobe: 0 };
  const publisher = bus.publisher({
    queueBytes: queueBytes(config),
    onDrop: ({ subject, rows }) => {
      queueDroppedRows[subject.startsWith('flowtag.ev.uprobe') ? 'uprobe' : 'kprobe'] += rows;
    },
  });
  const executables = new Executables(probes, config.allowUnknownGo);
  const drain = new Drain({
    probes,
    publisher,
    queueDroppedRows,
    host: config.host,
    boot: await readBootId(),
    sinceNs: startedNs,
    tickMs: config.tickMs,
    executablePath: (binary) => executables.pathOf(binary),
  });
  const discovery = new Discovery({
    targets: [
      ...config.target.map((text) => parseTarget(text, process.cwd())),
      ...(config.auto ? [AUTO] : []),
    ],
    executables,
    listProcesses,
    addTarget: (pid, binary) => probes.addTarget(pid, binary),
    removeTarget: (pid) => probes.removeTarget(pid),
    onProcesses: (running) => drain.processes.retain(running),
    onAttached: ({ path, goVersion }) => log.info({ path, goVersion }, 'executable attached'),
    onDetached: ({ path }) => log.info({ path }, 'executable detached'),
    // The heartbeat's notes carry it too, which is where people see it.
    onRefused: (target, reason) => log.info({ target, reason }, 'target cannot be probed'),
  });
  let ready = false;
  const losses = new Losses();
  const heartbeat = startHeartbeat(bus, () => {
    const { captured, dropped } = drain.ledger();
    const lost = losses.since(dropped, performance.now());
    return {
      role: 'capture',
      instance: config.host,
      host: config.host,
      startedNs,
      state: signal.aborted ? 'stopping' : !ready ? 'starting' : lost ? 'degraded' : 'ready',
      notes: [
        ...(lost ? [lost] : []),
        ...discovery.notes,
        ...executables.list().map(({ path, goVersion }) => `probing ${path} (${goVersion})`),
      ].slice(0, MAX_NOTES),
      counters: {
        ...withPrefix('captured', captured),
        ...withPrefix('dropped', dropped),
        ...faultsOf(probes.counters()),
        executables: executables.list().length,
        wakes: drain.wakes,
        queued: publisher.stats.queued,
        published_rows: publisher.stats.ackedRows,
      },
    };
  });
  try {
    await repeat(config.scanMs, signal, async () => {
      await discovery.scan();
      ready = true;
    });
  } finally {
    await executables.close();
    drain.close();
    const flushed = await publisher.flush(FLUSH_MS);
    if (!flushed) log.error({ ...publisher.stats }, 'events not acknowledged at the end: lost');
    heartbeat.close();
    publisher.close();
  }
}

function withPrefix(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}.${name}`, count]));
}
