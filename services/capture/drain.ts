// Ring buffer → batches → bus, with the clock and the ledger: the daemon's hot path, wired.
import type { Ledger } from '../../schemas/events.ts';
import type { CallerFacts } from './caller-table.ts';
import { bootTimeNs, monotonicZeroNs } from './clock.ts';
import { EventBatches, type EventMessage } from './event-batches.ts';
import { ledgerOf } from './ledger.ts';
import { CLOCK, clockNs } from './libbpf.ts';
import type { Probes } from './probes.ts';
import { readProcess } from './proc.ts';
import { ProcessFactsCache } from './process-table.ts';
import { RingReader } from './ring-reader.ts';

const LEDGER_MS = 250; // reading the kernel's counters costs ~20 µs
const CLOCK_MS = 10_000; // NTP slews by less than 5 ms in that time
/** While idle the host's watermark goes out by this tick. */
const IDLE_MS = 1_000;

export interface DrainOptions {
  readonly probes: Probes;
  readonly publish: (message: EventMessage) => void;
  readonly undelivered: () => Ledger['dropped'];
  readonly host: string;
  readonly boot: string;
  readonly sinceNs: bigint;
  readonly tickMs: number;
  readonly executablePath: (binary: number) => string;
  readonly callerOf: (binary: number, stack: number) => CallerFacts;
}

export class Drain {
  readonly processes: ProcessFactsCache;
  private readonly options: DrainOptions;
  private readonly batches: EventBatches;
  private readonly reader: RingReader;
  private readonly timers: NodeJS.Timeout[];
  private zeroNs = 0n;
  private cached: Pick<Ledger, 'captured' | 'dropped'> = { captured: {}, dropped: {} };
  private cachedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: DrainOptions) {
    this.options = options;
    const booted = bootTimeNs();
    this.processes = new ProcessFactsCache((pid) => readProcess(pid, booted));
    this.batches = new EventBatches({
      ...options,
      processes: this.processes,
      ledger: () => this.recentLedger(),
    });
    this.setClock();
    let beganNs = 0n;
    this.reader = new RingReader({
      ring: options.probes.ring,
      shared: options.probes.shared,
      tickMs: options.tickMs,
      onMemory: (...memory) => this.batches.decoder.setMemory(...memory),
      onBegin: () => {
        beganNs = this.nowNs();
      },
      onRecord: (offset, length) => this.batches.accept(offset, length),
      onDrained: (complete) => this.batches.drained(beganNs, complete, performance.now()),
    });
    this.timers = [
      setInterval(() => this.setClock(), CLOCK_MS),
      setInterval(() => this.reader.drainAll(), IDLE_MS),
    ];
  }

  /** Exact at the time of the call. */
  ledger(): Pick<Ledger, 'captured' | 'dropped'> {
    const { probes, undelivered } = this.options;
    return ledgerOf({
      kernel: probes.counters(),
      unknownRecords: this.batches.decoder.unknown,
      undelivered: undelivered(),
    });
  }

  get wakes(): number {
    return this.reader.wakes;
  }

  /** Delivers what is left in the ring and stops. Detach the probes first. */
  close(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.cachedAtMs = Number.NEGATIVE_INFINITY;
    this.reader.drainAll();
    this.batches.watermark();
    this.reader.close();
  }

  private recentLedger(): Pick<Ledger, 'captured' | 'dropped'> {
    const nowMs = performance.now();
    if (nowMs - this.cachedAtMs >= LEDGER_MS) {
      this.cached = this.ledger();
      this.cachedAtMs = nowMs;
    }
    return this.cached;
  }

  private nowNs(): bigint {
    return this.zeroNs + clockNs(CLOCK.monotonic);
  }

  private setClock(): void {
    this.zeroNs = monotonicZeroNs();
    this.batches.decoder.setMonotonicZero(this.zeroNs);
  }
}
