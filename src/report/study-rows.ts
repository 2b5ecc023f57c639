import type { PairedDifference, Scores, StudyReport, StudyRow } from "./data.js";

/** The ratios of a study: numbers of experts that are left, the largest first. */
export function ratios({ rows }: StudyReport): readonly number[] {
  return [...new Set(rows.map(({ experts }) => experts))].sort((a, b) => b - a);
}

/** Rows of a ratio, or of one method at it. */
export function rowsAt({ rows }: StudyReport, experts: number, method?: string): readonly StudyRow[] {
  return rows.filter((row) => row.experts === experts && (method === undefined || row.method === method));
}

/** The row with the highest of a score; the first of equal ones. */
export function best(rows: readonly StudyRow[], score: (row: StudyRow) => number | undefined): StudyRow | undefined {
  let found: StudyRow | undefined;
  for (const row of rows) {
    const value = score(row);
    if (value !== undefined && (found === undefined || value > score(found)!)) found = row;
  }
  return found;
}

/** The average, or what was measured of it. */
export function overall({ avg, mc, gen }: Scores): number | undefined {
  return avg ?? mc ?? gen;
}

/** The best model of every method at a ratio, in the order of the methods. */
export function bestOfMethods(data: StudyReport, experts: number): readonly StudyRow[] {
  return data.methods.flatMap((method) => best(rowsAt(data, experts, method), overall) ?? []);
}

/** Shares in the order of the domains, not to be broken: `0.5 / 0.3 / 0.2`. */
export function mixName({ mix }: StudyRow, domains: readonly string[]): string {
  return domains.map((domain) => Number((mix[domain] ?? 0).toFixed(2))).join("\u00a0/\u00a0");
}

export function rowName(row: StudyRow, domains: readonly string[]): string {
  return `${row.method}, ${mixName(row, domains)}`;
}

/** `128 → 96 experts`, or `96 experts` where the original's number is not told. */
export function ratioName({ model }: StudyReport, experts: number): string {
  return model.experts === undefined ? `${experts} experts` : `${model.experts} → ${experts} experts`;
}

/** The paired difference of a task, else that of the two scores. */
export function differenceOf(
  row: Scores & { readonly differences?: Readonly<Record<string, PairedDifference>> },
  task: string,
  original: Scores | undefined,
): PairedDifference | undefined {
  const paired = row.differences?.[task];
  if (paired !== undefined) return paired;
  const [score, before] = [row.tasks[task], original?.tasks[task]];
  return score === undefined || before === undefined ? undefined : { value: score - before };
}
