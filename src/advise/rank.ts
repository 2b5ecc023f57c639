import type { Option, Quality, RankedOption } from "./advice.js";

/** Places of what fits, and behind it of what does not. */
const KINDS = ["original", "measured", "predicted"] as const satisfies readonly Quality["kind"][];

/**
 * Those that fit come first; of these the model itself, then what was measured, then what is predicted. Measured ones go by
 * AVG, those without by KL; predicted ones by what they drop of the experts, then by the error of rounding, because
 * dropping costs much more than the same error of rounding. What does not fit goes by what is missing. Options that this does
 * not tell apart share a rank, and stay in their order.
 *
 * Averages of different tasks cannot be compared: the tasks that most measured options have come first.
 */
export function rankOptions(options: readonly Option[]): RankedOption[] {
  const asked = new Map<string, number>();
  for (const { quality } of options)
    if (quality.kind === "measured") asked.set(quality.scores.tasks, (asked.get(quality.scores.tasks) ?? 0) + 1);
  const keys = new Map(options.map((option) => [option, sortKey(option, asked)]));
  const order = [...options].sort((a, b) => compareKeys(keys.get(a)!, keys.get(b)!));
  let rank = 0;
  return order.map((option, i) => {
    const before = order[i - 1];
    if (before === undefined || compareKeys(keys.get(before)!, keys.get(option)!) !== 0) rank = i + 1;
    return { ...option, rank };
  });
}

type SortKey = readonly (number | string)[];

function sortKey({ fits, left, quality }: Option, asked: ReadonlyMap<string, number>): SortKey {
  if (!fits) return [1, -left];
  const kind = KINDS.indexOf(quality.kind);
  if (quality.kind === "predicted") return [0, kind, quality.loss.dropped, quality.loss.rounded];
  if (quality.kind === "original") return [0, kind];
  const { avg, kl, tasks } = quality.scores;
  if (avg === undefined) return [0, kind, 1, 0, "", kl ?? Number.POSITIVE_INFINITY];
  return [0, kind, 0, -(asked.get(tasks) ?? 0), tasks, -avg.value];
}

function compareKeys(a: SortKey, b: SortKey): number {
  for (const [i, value] of a.entries()) {
    const other = b[i];
    if (value === other) continue;
    if (other === undefined) return 1;
    return value < other ? -1 : 1;
  }
  return a.length - b.length;
}
