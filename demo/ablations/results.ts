import type { DetailedEvaluation } from "../../src/evaluate/run/evaluate.js";
import { type Estimate, estimate } from "../../src/study/analysis/estimate.js";
import { redrawItems } from "../../src/study/analysis/redraw-items.js";
import { differenceOf } from "../../src/study/analysis/redrawn.js";
import { itemsOf } from "../../src/study/items.js";
import { markdownTable } from "../markdown-table.js";
import type { Variant } from "./variants.js";

const DRAWS = { seed: 42, resamples: 2000 };

/** What came of a variant, or of the original (without a group). Scores in per cent, differences in points. */
export interface Row {
  readonly name: string;
  readonly group: Variant["group"] | undefined;
  readonly mc: Estimate;
  readonly gen: Estimate;
  readonly avg: Estimate;
  /** AVG less that of the plain variant, on the same items. */
  readonly gain: Estimate | undefined;
  /** Share of the plain variant's loss of AVG that is made good. */
  readonly closed: number | undefined;
  /** Shares of each layer's squared outputs that are lost on held-out calibration text, after the refit. */
  readonly errors: readonly number[];
  /** Processor time of the compression. */
  readonly seconds: number | undefined;
}

/** What is known of a model before it is asked. */
export type Made = Pick<Row, "name" | "group" | "errors" | "seconds">;

/** @param made one for each subject: the original, the plain variant, then the others */
export function rowsOf({ evaluation, judged }: DetailedEvaluation, made: readonly Made[]): Row[] {
  const drawn = redrawItems(
    judged.map((tasks) => [itemsOf(tasks)]),
    DRAWS,
  );
  const scores = evaluation.subjects.map(({ label, averages: { mc, gen, avg } }) => {
    if (mc === undefined || gen === undefined || avg === undefined) throw new TypeError(`${label} has no averages`);
    return { mc: 100 * mc.mean, gen: 100 * gen.mean, avg: 100 * avg.mean };
  });
  const [original, plain] = scores as [(typeof scores)[0], (typeof scores)[0]];
  return made.map((one, i) => {
    const [own, draws] = [scores[i]!, drawn[i]!];
    const gain = i < 2 ? undefined : estimate(own.avg - plain.avg, differenceOf(draws.avg, drawn[1]!.avg));
    return {
      ...one,
      ...{ mc: estimate(own.mc, draws.mc), gen: estimate(own.gen, draws.gen), avg: estimate(own.avg, draws.avg) },
      gain,
      closed: gain && gain.value / (original.avg - plain.avg),
    };
  });
}

/** A table in Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const score = ({ value, standardError = 0 }: Estimate) => `${value.toFixed(1)} ± ${standardError.toFixed(1)}`;
  const signed = (value: number) => `${value > 0 ? "+" : ""}${value.toFixed(1)}`;
  const percent = (share: number) => (100 * share).toFixed(2);
  const cells = rows.map(({ name, group, mc, gen, avg, gain, closed, errors, seconds }) => [
    ...[group ?? "", name, score(mc), score(gen), score(avg)],
    gain === undefined ? "" : `${signed(gain.value)} (${gain.interval!.map(signed).join(" to ")})`,
    closed === undefined ? "" : `${(100 * closed).toFixed(0)} %`,
    errors.map(percent).join(", "),
    seconds === undefined ? "" : seconds.toFixed(0),
  ]);
  const head = [
    ...["compared", "variant", "MC", "GEN", "AVG", "AVG against plain (95 %)", "gap closed"],
    ...["held-out errors of the layers, %", "processor s"],
  ];
  return markdownTable(head, cells);
}
