// Columns of text, as wide as their widest cell. Pure.

export type Align = 'left' | 'right';

/** One line a row; cells without control characters. */
export function textTable(aligns: readonly Align[], rows: readonly (readonly string[])[]): string[] {
  const widths = aligns.map((_, column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        aligns[column] === 'right' ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
}
