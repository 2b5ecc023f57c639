import { spearman } from "../study/analysis/rank-quality.js";
import type { Candidate } from "./candidates.js";
import { type DivergenceRelation, fitDivergence, type PredictedDivergence } from "./divergence.js";
import type { Measurement } from "./measurement.js";
import type { PredictedLoss, Predictor } from "./predict.js";

/** What is changed: the two do not add up, so that candidates with both have no relation. */
type Kind = "experts" | "format";
export type Relations = Partial<Record<Kind, DivergenceRelation | undefined>>;

function kindOf({ method, format }: Candidate): Kind | "both" {
  if (method !== undefined && format !== undefined) return "both";
  return method === undefined ? "format" : "experts";
}

function lossOf({ dropped, rounded }: PredictedLoss, kind: Kind): number {
  return kind === "experts" ? dropped : rounded;
}

/** How predicted losses and measured divergences of a model go together, and what should be said of it. */
export async function relationsOf(
  measurements: readonly Measurement[],
  predictor: Predictor,
): Promise<{ readonly fitted: Relations; readonly notes: readonly string[] }> {
  const points: Record<Kind, { loss: number; kl: number }[]> = { experts: [], format: [] };
  for (const { candidate, kl } of measurements) {
    const kind = kindOf(candidate);
    const isOriginal = candidate.method === undefined && candidate.format === undefined;
    // GPTQ loses less than rounding to nearest, which is what the loss is of.
    if (kl === undefined || kind === "both" || isOriginal || candidate.solver !== undefined) continue;
    points[kind].push({ loss: lossOf(await predictor.of(candidate), kind), kl });
  }
  const fitted: Relations = {};
  const notes: string[] = [];
  for (const [kind, name] of [
    ["experts", "fewer experts"],
    ["format", "weight formats"],
  ] as const) {
    const known = points[kind];
    if (known.length === 0) continue;
    fitted[kind] = fitDivergence(known);
    const rho = spearman(
      known.map(({ loss }) => loss),
      known.map(({ kl }) => kl),
    );
    const what =
      fitted[kind] === undefined
        ? `no KL is predicted for ${name}, because ${known.length} measured do not show how it grows with the loss`
        : `KL is predicted for ${name} by the power law that ${known.length} measured show, within their range`;
    notes.push(`${what}${rho === undefined ? "" : `; loss and KL rank alike with Spearman's rho ${rho.toFixed(2)}`}.`);
  }
  return { fitted, notes };
}

/** The divergence that a candidate would have by what was measured of others; undefined where that does not tell. */
export function predictDivergence(
  relations: Relations,
  candidate: Candidate,
  loss: PredictedLoss,
): PredictedDivergence | undefined {
  const kind = kindOf(candidate);
  return kind === "both" ? undefined : relations[kind]?.predict(lossOf(loss, kind));
}
