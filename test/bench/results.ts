// What a run of the benchmark measured, before any statistics.

export const WORKLOADS = ['noop', 'pool', 'fresh'] as const;
export type Workload = (typeof WORKLOADS)[number];

export const SETUPS = ['control', 'seed', 'flowtag'] as const;
export type Setup = (typeof SETUPS)[number];

/** One pair: both servers driven at the same time at one fixed rate, one of them probed. */
export interface Sample {
  readonly setup: Setup;
  readonly workload: Workload;
  /** Processor time a request. */
  readonly probedUs: number;
  readonly unprobedUs: number;
  /** Of the tool's own processes, by name. */
  readonly ownUs: Readonly<Record<string, number>>;
  /** How far the load fell behind its schedule: the rate was not kept when it is not near 1. */
  readonly stretch: number;
}

/** One pair: each server driven alone, in turns, as fast as it answers. */
export interface Saturation {
  readonly setup: Setup;
  readonly workload: Workload;
  readonly probedPerSecond: number;
  readonly unprobedPerSecond: number;
}

/** What a tool said it saw during a pair's runs. */
export interface Seen {
  readonly setup: Setup;
  readonly counts: Readonly<Record<string, number>>;
}

/** Probe hits a request by hook. */
export type Hits = Readonly<Record<Workload, Readonly<Record<string, number>>>>;

export interface Results {
  readonly command: string;
  readonly machine: Readonly<Record<string, string>>;
  readonly pairs: number;
  readonly requests: number;
  readonly ratePerSecond: number;
  readonly saturationMs: number;
  readonly samples: readonly Sample[];
  readonly saturations: readonly Saturation[];
  readonly seen: readonly Seen[];
  readonly hits: Hits;
}
