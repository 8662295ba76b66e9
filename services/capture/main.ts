// The capture daemon: loads the probes, finds targets, drains the ring and publishes batches of events.

import { nowNs } from '../runtime/clock.ts';
import { requireHost } from '../runtime/credential-file.ts';
import { startHeartbeat } from '../runtime/heartbeat.ts';
import { startService } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import type { Ops } from '../runtime/ops.ts';
import { HITS } from './bpf/layout.gen.ts';
import { Callers } from './callers.ts';
import {
  type CaptureOptions,
  captureOptions,
  queueBytes,
  ringBytes,
  spoolBytes,
  spoolDir,
} from './config.ts';
import { Discovery } from './discovery.ts';
import { Drain } from './drain.ts';
import { type Executable, Executables } from './executables.ts';
import { faultsOf, Losses } from './ledger.ts';
import { Listeners } from './listeners.ts';
import { Outbox } from './outbox.ts';
import { byHook } from './probe-sites.ts';
import { BPF_OBJECT, Probes } from './probes.ts';
import { listProcesses, readBootId } from './proc.ts';
import { repeat } from './repeat.ts';
import { AUTO, parseTarget } from './targets.ts';
import { Uplink } from './uplink.ts';

const FLUSH_MS = 5_000;
const MAX_NOTES = 100;
const NO_USES =
  'sends are not shown to this backend: connections are seen when they open, not when they are re-used';

export function main(argv: readonly string[]): Promise<number> {
  return startService('capture', captureOptions, argv, run);
}

async function run(config: CaptureOptions, log: Logger, signal: AbortSignal, ops: Ops): Promise<void> {
  const { server, creds, tlsCa, host } = config;
  if (creds) requireHost(creds, host);
  const probes = await Probes.load({
    objectPath: BPF_OBJECT,
    ringBytes: ringBytes(config),
    captureQuery: config.query,
    maxContexts: config.maxContexts,
    channels: config.channels.length > 0,
    uprobes: config.uprobes,
    backend: config.backend,
  });
  log.info({ backend: probes.explanation, uprobes: probes.uprobes }, 'probes loaded');
  if (!probes.seesUses) log.warn(NO_USES);
  let uplink: Uplink | undefined;
  try {
    uplink = await Uplink.open({ server, creds, tlsCa, name: `flowtag capture ${host}`, log });
    await capture(config, probes, uplink, log, signal, ops);
  } finally {
    await probes.close();
    await uplink?.close();
  }
}

async function capture(
  config: CaptureOptions,
  probes: Probes,
  uplink: Uplink,
  log: Logger,
  signal: AbortSignal,
  ops: Ops,
): Promise<void> {
  const startedNs = nowNs();
  const outbox = await Outbox.open({
    dir: spoolDir(config),
    spoolBytes: spoolBytes(config),
    queueBytes: queueBytes(config),
    sinceNs: startedNs,
    log,
  });
  uplink.whenReached((bus) => outbox.deliverTo(bus));
  const executables = new Executables(probes, {
    allowUnknownGo: config.allowUnknownGo,
    maxHitsPerSecond: config.maxHits,
  });
  const callers = new Callers({
    stack: (id) => probes.stack(id),
    symbolsOf: (binary) => executables.symbolsOf(binary),
    withStacks: config.stacks,
  });
  const listeners = new Listeners((netns, port) => probes.addListener(netns, port));
  listeners.learn(process.pid);
  const drain = new Drain({
    probes,
    publish: (message) => outbox.publish(message),
    undelivered: () => outbox.undelivered,
    host: config.host,
    boot: await readBootId(),
    sinceNs: startedNs,
    tickMs: config.tickMs,
    executablePath: (binary) => executables.pathOf(binary),
    callerOf: (binary, stack) => callers.get(binary, stack),
  });
  const discovery = new Discovery({
    targets: [
      ...config.target.map((text) => parseTarget(text, process.cwd())),
      ...(config.auto ? [AUTO] : []),
    ],
    channels: config.channels.map((text) => parseTarget(text, process.cwd())),
    executables,
    listProcesses,
    addTarget: (pid, binary) => {
      listeners.learn(pid);
      probes.addTarget(pid, binary);
    },
    removeTarget: (pid) => probes.removeTarget(pid),
    onProcesses: (running) => drain.processes.retain(running),
    onAttached: ({ path, index, goVersion, notes }) => {
      callers.forget(index);
      log.info({ path, goVersion, notes }, 'executable attached');
    },
    onDetached: ({ path }) => log.info({ path }, 'executable detached'),
    // The heartbeat's notes carry it too, which is where people see it.
    onRefused: (target, reason) => log.info({ target, reason }, 'target cannot be probed'),
  });
  let ready = false;
  const losses = new Losses();
  const heartbeat = startHeartbeat(uplink, ops, () => {
    const { captured, dropped } = drain.ledger();
    const lost = losses.since(dropped, performance.now());
    const troubles = [uplink.note, lost, outbox.note].filter((note) => note !== undefined);
    return {
      role: 'capture',
      instance: config.host,
      host: config.host,
      startedNs,
      state: signal.aborted ? 'stopping' : !ready ? 'starting' : troubles.length > 0 ? 'degraded' : 'ready',
      backend: probes.explanation,
      notes: [
        ...troubles,
        ...(probes.seesUses ? [] : [NO_USES]),
        ...discovery.notes,
        ...executables.list().map(describe),
      ].slice(0, MAX_NOTES),
      counters: {
        ...withPrefix('captured', captured),
        ...withPrefix('dropped', dropped),
        ...faultsOf(probes.counters()),
        ...withPrefix('hits', hitsOf(probes, executables)),
        callers_unknown: callers.unknown,
        ...executables.faults(),
        executables: executables.list().length,
        wakes: drain.wakes,
        ...outbox.counters,
      },
    };
  });
  try {
    await repeat(config.scanMs, signal, async () => {
      await discovery.scan();
      for (const { path, notes } of await executables.enforceBudget(performance.now()))
        log.warn({ path }, notes.join('; '));
      ready = true;
    });
  } finally {
    await executables.detach();
    drain.close();
    await executables.close();
    await outbox.flush(FLUSH_MS);
    heartbeat.close();
    outbox.close();
  }
}

function describe({ path, goVersion, notes }: Executable): string {
  return [`probing ${path} (${goVersion})`, ...notes].join('; ');
}

/** Hits of all executables by hook: what the probes cost. */
function hitsOf(probes: Probes, executables: Executables): Record<string, number> {
  const totals = new Array<number>(HITS.size / 8).fill(0);
  for (const { index } of executables.list())
    for (const [hook, count] of probes.hits(index).entries()) totals[hook]! += count;
  return Object.fromEntries(Object.entries(byHook(totals)).filter(([, count]) => count !== 0));
}

function withPrefix(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}.${name}`, count]));
}
