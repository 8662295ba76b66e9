// What probes cost a server: pairs of one probed and one unprobed copy, for each set-up in turn.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bpftrace, startSeed } from './bpftrace.ts';
import { CaptureBus } from './capture-daemon.ts';
import { countHits } from './hits.ts';
import { atFixedRate, atSaturation, type Pair } from './measure.ts';
import {
  type Results,
  type Sample,
  type Saturation,
  SETUPS,
  type Seen,
  type Setup,
  WORKLOADS,
} from './results.ts';
import { NO_TRACER, type Tracer } from './tracer.ts';
import { Twins } from './twins.ts';

const SETTLE_MS = 1_000; // a tool that has just started compiles and allocates

export interface Plan {
  readonly pairs: number;
  readonly requests: number;
  readonly ratePerSecond: number;
  readonly saturationMs: number;
}

type Measurements = Pick<Results, 'samples' | 'saturations' | 'seen' | 'hits'>;

export async function measureOverhead(
  plan: Plan,
  bpftrace: Bpftrace,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Measurements> {
  const samples: Sample[] = [];
  const saturations: Saturation[] = [];
  const seen: Seen[] = [];
  const twins = await Twins.start();
  let bus: CaptureBus | undefined;
  try {
    bus = await CaptureBus.start();
    const start: Record<Setup, (target: string) => Promise<Tracer>> = {
      control: () => Promise.resolve(NO_TRACER),
      seed: (target) => startSeed(bpftrace, target),
      flowtag: (target) => bus!.startDaemon(target, []),
    };
    // Set-ups take turns within a pair: what drifts on the machine drifts for all of them.
    for (let at = 0; at < plan.pairs; at++) {
      const [a, b] = twins.both;
      const [probed, other] = at % 2 === 0 ? [a, b] : [b, a];
      for (const setup of SETUPS) {
        signal.throwIfAborted();
        const tracer = await start[setup](probed.path);
        try {
          await sleep(SETTLE_MS);
          const result = await onePair({ probed, other, tracer }, plan, signal);
          samples.push(...result.samples.map((sample) => ({ setup, ...sample })));
          saturations.push(...result.saturations.map((saturation) => ({ setup, ...saturation })));
          seen.push({ setup, counts: await tracer.seen(result.answered) });
          say(`pair ${at + 1}/${plan.pairs} ${setup.padEnd(10)} ${line(result)}`);
        } finally {
          await tracer.stop();
        }
      }
    }
    say('counting probe hits');
    return { samples, saturations, seen, hits: await countHits(twins.both[0]) };
  } finally {
    await bus?.stop();
    await twins.stop();
  }
}

interface PairResult {
  readonly samples: Omit<Sample, 'setup'>[];
  readonly saturations: Omit<Saturation, 'setup'>[];
  /** Requests that the probed server answered. */
  readonly answered: number;
}

async function onePair(pair: Pair, plan: Plan, signal: AbortSignal): Promise<PairResult> {
  const samples: PairResult['samples'] = [];
  const saturations: PairResult['saturations'] = [];
  let total = 0;
  for (const workload of WORKLOADS) {
    signal.throwIfAborted();
    const { answered, ...sample } = await atFixedRate(pair, workload, plan.requests, plan.ratePerSecond);
    samples.push(sample);
    total += answered;
  }
  for (const workload of WORKLOADS) {
    signal.throwIfAborted();
    const { answered, ...rates } = await atSaturation(pair, workload, plan.saturationMs);
    saturations.push(rates);
    total += answered;
  }
  return { samples, saturations, answered: total };
}

function line({ samples, saturations }: PairResult): string {
  const added = samples.map((s) => `${s.workload} ${(s.probedUs - s.unprobedUs).toFixed(1)}`).join(', ');
  const rates = saturations.map((s) => (s.probedPerSecond / s.unprobedPerSecond).toFixed(2)).join(', ');
  return `added µs: ${added}; throughput ×: ${rates}`;
}
