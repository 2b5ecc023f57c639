import type { Random } from "../../../src/random.js";
import type { Place } from "../../../src/study/analysis/points.js";
import type { Row, StudyResults } from "../../../src/study/results.js";

/** Points on a coarse grid, so that ties and equal points are common. */
export function gridPoints(random: Random, count: number, size = 8): Place[] {
  return Array.from({ length: count }, () => ({ mc: random.below(size), gen: random.below(size) }));
}

export function row(method: string, mix: Row["mix"], mc: number, gen: number, more: Partial<Row> = {}): Row {
  return { method, experts: 96, mix, mc, gen, avg: (mc + gen) / 2, tasks: {}, ...more };
}

export function study(rows: readonly Row[], more: Partial<StudyResults> = {}): StudyResults {
  return {
    format: "ream-study-results",
    version: 1,
    title: "A study",
    model: { name: "model", experts: 128 },
    rows: [...rows],
    ...more,
  };
}
