import type { MoeDescription } from "../../model/description.js";
import { DESCENT_BYTES, DESCENT_NUMBERS, defaultTokens, KEPT_BYTES, type RefitPlan } from "./refit-plan.js";

/**
 * Bytes that the refit of a layer takes at its highest, besides all that compressing takes: outputs that are wanted and inputs
 * of its tokens, the kept experts as stored (in 16 bits), and what descends together, or activations of before and after and the Gram
 * matrices of least squares.
 *
 * @param tokens of calibration, of which the refit takes a part
 * @param quantised whether the experts go back to another form: they are there in that form too, and as it leaves them
 */
export function refitBytes(
  { experts, router }: MoeDescription,
  { parts, tokens: most, random }: Pick<RefitPlan, "parts" | "tokens" | "random">,
  tokens: number,
  kept: number,
  quantised: boolean,
): number {
  const { hidden, width } = experts;
  const rows = (1 + random) * Math.min(tokens, most ?? defaultTokens({ experts, router }));
  const weights = 3 * hidden * width * kept;
  const activations = Math.min(KEPT_BYTES, 4 * rows * router.topK * width);
  const descent = Math.min(DESCENT_BYTES, 4 * DESCENT_NUMBERS * weights);
  // Experts that go back to another form have their down projections refitted by least squares after a descent.
  const squares = activations + KEPT_BYTES;
  const fitting = parts === "all" ? Math.max(descent, quantised ? squares : 0) : squares + activations;
  return 2 * 4 * rows * hidden + (quantised ? 6 : 2) * weights + fitting;
}
