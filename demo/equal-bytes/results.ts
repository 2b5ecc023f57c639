import type { Mean } from "../../src/evaluate/metrics/mean.js";
import type { Evaluation } from "../../src/evaluate/run/evaluation.js";
import { formatTable } from "../../src/format.js";

export interface Score {
  readonly value: number;
  readonly standardError: number;
}

/** A model of the comparison. Scores in per cent. */
export interface Row {
  readonly name: string;
  readonly kind: string;
  /** Bytes of all tensors; of pruned weights what they take if zeros are not stored. */
  readonly bytes: number;
  /** Bytes of the file's tensors. */
  readonly stored: number;
  readonly mc: Score;
  readonly gen: Score;
  readonly avg: Score;
  /** Mean over the domains' held-out texts, in nats a token, from the original. */
  readonly divergence: number;
}

/** The rows of an evaluation. @param sizes by the label of a model */
export function rowsOf(
  { subjects }: Evaluation,
  sizes: ReadonlyMap<string, Pick<Row, "name" | "kind" | "bytes" | "stored">>,
): Row[] {
  return subjects.map(({ label, averages, heldOut }) => {
    const measures = Object.values(heldOut);
    const { mc, gen, avg } = averages;
    if (mc === undefined || gen === undefined || avg === undefined) throw new TypeError(`${label} has no averages`);
    const score = ({ mean, standardError = 0 }: Mean) => ({ value: 100 * mean, standardError: 100 * standardError });
    return {
      ...sizes.get(label)!,
      ...{ mc: score(mc), gen: score(gen), avg: score(avg) },
      divergence: measures.reduce((sum, { divergence }) => sum + divergence, 0) / measures.length,
    };
  });
}

/** The table of the rows, the largest first. */
export function tableOf(rows: readonly Row[]): string {
  const score = ({ value, standardError }: Score) => `${value.toFixed(1)} ± ${standardError.toFixed(1)}`;
  const sorted = [...rows].sort((a, b) => b.bytes - a.bytes || b.avg.value - a.avg.value);
  return formatTable([
    ["model", "MB", "in files", "MC", "GEN", "AVG", "KL"],
    ...sorted.map(({ name, bytes, stored, mc, gen, avg, divergence }) => [
      ...[name, (bytes / 1e6).toFixed(2), (stored / 1e6).toFixed(2)],
      ...[score(mc), score(gen), score(avg), divergence.toFixed(3)],
    ]),
  ]);
}
