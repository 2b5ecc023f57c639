import { isMoe, type ModelDescription } from "../../model/description.js";
import type { TokenBatch } from "../../model/layer.js";
import { Random } from "../../random.js";
import { batchTokens } from "../batches.js";
import { defaultTokens, type RefitPlan } from "./refit-plan.js";

/** How many sequences of random tokens a refit looks at. @param text the calibration text's sequences and their length */
export function randomSequences(
  { random, tokens }: Pick<RefitPlan, "random" | "tokens">,
  { layers }: Pick<ModelDescription, "layers">,
  { sequences, length }: { readonly sequences: number; readonly length: number },
): number {
  const most = tokens ?? Math.max(...layers.filter(isMoe).map(({ feedForward }) => defaultTokens(feedForward)));
  return Math.ceil((random * Math.min(most, sequences * length)) / length);
}

/**
 * Sequences of tokens drawn evenly from the vocabulary, which refits look at besides the calibration text: they hold
 * experts to what they were where that text says nothing. Each layer sees what those before make of them; they are fitted
 * to and not held out, so that whether a refit is kept is decided by the text alone.
 *
 * @param text the calibration text's sequences and their length
 */
export function randomBatches(
  plan: Pick<RefitPlan, "random" | "tokens" | "seed">,
  model: Pick<ModelDescription, "layers" | "vocabularySize">,
  text: { readonly sequences: number; readonly length: number },
): TokenBatch[] {
  const { length } = text;
  const sequences = randomSequences(plan, model, text);
  const size = batchTokens(length, { batchSequences: 0 }) / length;
  const random = new Random(plan.seed + 1);
  const batches: TokenBatch[] = [];
  for (let first = 0; first < sequences; first += size) {
    const count = Math.min(size, sequences - first);
    batches.push({
      ...{ sequences: count, length },
      ids: Int32Array.from({ length: count * length }, () => random.below(model.vocabularySize)),
    });
  }
  return batches;
}
