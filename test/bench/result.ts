/** One line of the benchmark. */
export interface Result {
  name: string;
  value: number;
  unit: 'ms' | 'MB' | 'calls' | 'connections';
  /** What it is compared with, in the same unit. It is measured in the same run, unless it is a count. */
  reference: number | null;
  /** Value by reference, but for `cordon-2304-sequential`, which says how many times faster it is. */
  ratio: number | null;
  /** The goal, such as `ratio <= 3.6`; null if there is none. */
  goal: Goal | null;
  /** What value and reference are, for people. */
  what: string;
}

export type Goal = `${'value' | 'ratio'} ${'<=' | '>='} ${number}`;

/** Says whether a result meets its goal; one without a goal does. */
export function meetsGoal({ value, ratio, goal }: Result): boolean {
  const [, what, operator, limit] = /^(value|ratio) (<=|>=) (.+)$/.exec(goal ?? '') ?? [];
  if (what === undefined) return true;
  const measured = what === 'value' ? value : (ratio ?? Number.NaN);
  return operator === '<=' ? measured <= Number(limit) : measured >= Number(limit);
}

/** The middle of an odd number of measurements, or the lower of the two. */
export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** The percentile: the smallest measurement that this share of them does not exceed. */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Results as a table for the terminal. */
export function toTable(results: Result[]): string {
  const rows = results.map((result) => [
    result.name,
    `${round(result.value)} ${result.unit}`,
    result.reference === null ? '' : `${round(result.reference)} ${result.unit}`,
    result.ratio === null ? '' : `${result.ratio.toFixed(2)} ×`,
    result.goal ?? '',
    result.goal === null ? '' : meetsGoal(result) ? 'met' : 'MISSED',
    result.what,
  ]);
  const head = ['name', 'value', 'reference', 'ratio', 'goal', '', 'what'];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The result as it is kept: three digits are more than a noisy machine gives. */
export function rounded(result: Result): Result {
  const { value, reference, ratio } = result;
  return {
    ...result,
    value: round(value),
    reference: reference === null ? null : round(reference),
    ratio: ratio === null ? null : round(ratio),
  };
}

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
