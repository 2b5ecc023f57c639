import { heldOutOnly, splitTokens, type TokenSplit } from "../../compress/reconstruct/split.js";
import { ReamError } from "../../errors.js";
import type { MoeDescription } from "../../model/description.js";
import type { TokenBatch } from "../../model/layer.js";
import type { GuardPlan } from "../guard/guard-plan.js";
import { defaultTokens, MOST_TOKENS, type RefitPlan } from "./refit-plan.js";

/**
 * The calibration tokens that a layer is refitted on, which a guard of its merges looks at too, and the random ones.
 * Errors: RECONSTRUCT_TOKENS.
 */
export function splitForRefit(
  { tokens, seed }: RefitPlan,
  moe: MoeDescription,
  batches: readonly TokenBatch[],
  random: readonly TokenBatch[] = [],
): TokenSplit {
  const split = splitTokens(batches, tokens ?? defaultTokens(moe), seed, random);
  return checked(split, "--reconstruct");
}

/** The held-out tokens that merges are judged on where layers are not refitted. Errors: RECONSTRUCT_TOKENS. */
export function splitForGuard({ seed }: GuardPlan, batches: readonly TokenBatch[]): TokenSplit {
  return heldOutOnly(checked(splitTokens(batches, MOST_TOKENS, seed), "--guard"));
}

function checked(split: TokenSplit, where: string): TokenSplit {
  if (split.heldOut.length > 0) return split;
  throw new ReamError("RECONSTRUCT_TOKENS", "one sequence of calibration text is too few to judge layers on", {
    where,
    hint: "Give more text: some sequences are held out, to tell which weights are better. Or leave the refit out: --reconstruct none.",
  });
}
