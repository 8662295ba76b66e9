const FIRST_MS = 500;
const LONGEST_MS = 10_000;
const STEADY_MS = 30_000;

/** How often a child died in a row: one that had run for a while starts anew. */
export function failuresInRow(before: number, ranMs: number): number {
  return ranMs >= STEADY_MS ? 1 : before + 1;
}

/** 0.5 s, doubled up to 10 s. */
export function restartDelayMs(failures: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1));
}
