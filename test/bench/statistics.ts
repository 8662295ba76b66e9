// Medians and their spread. Pure, and the same numbers give the same figures: the resampling has its own generator.

export interface Spread {
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
}

const RESAMPLES = 2_000;

/** Median and quartiles. */
export function quartiles(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), lower: quantile(values, 0.25), upper: quantile(values, 0.75) };
}

/** Ratio of two medians with the 90 % interval that resampling both (bootstrap) gives. */
export function ratioOfMedians(above: readonly number[], below: readonly number[]): Spread {
  const random = generator(1);
  const resample = (values: readonly number[]): number[] =>
    values.map(() => values[Math.floor(random() * values.length)]!);
  const ratios = Array.from({ length: RESAMPLES }, () => median(resample(above)) / median(resample(below)));
  return {
    median: median(above) / median(below),
    lower: quantile(ratios, 0.05),
    upper: quantile(ratios, 0.95),
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Linear between the two nearest ranks. */
function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('no values');
  const sorted = values.toSorted((a, b) => a - b);
  const rank = (sorted.length - 1) * share;
  const below = sorted[Math.floor(rank)]!;
  const above = sorted[Math.ceil(rank)]!;
  return below + (above - below) * (rank - Math.floor(rank));
}

/** Park and Miller's minimal standard generator. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
