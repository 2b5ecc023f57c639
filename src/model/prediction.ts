import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import type { ModelDescription, Norm, PredictionDescription } from "./description.js";
import { EmbeddingRows } from "./embedding-rows.js";
import type { HiddenStates } from "./hidden-states.js";
import type { TokenBatch } from "./layer.js";
import { WeightLoader } from "./weight-loader.js";

/** Norms the hidden states of all batches, as the final norm or a prediction layer's output norm does it. */
export async function normStates(
  checkpoint: Checkpoint,
  backend: Backend,
  norm: Norm,
  states: HiddenStates,
): Promise<void> {
  const apply = await new WeightLoader(checkpoint, backend).norm(norm);
  for (let batch = 0; batch < states.count; batch++) states.set(batch, apply(states.get(batch)));
}

/**
 * Replaces hidden states by what a layer for multi-token prediction sees (DeepSeek-AI 2024, arXiv 2412.19437, Eq. 21): at each token
 * the projection of [norm(embedding of the next token), norm(hidden state)]. The last token of a sequence has no next one
 * and is left out.
 *
 * @param batches the tokens so far
 * @param states normed hidden states of the model or of the prediction layer before
 * @returns the tokens that are left, with the next one in the place of each
 */
export async function predictionInput(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  { embeddingNorm, hiddenNorm, projection }: PredictionDescription,
  batches: readonly TokenBatch[],
  states: HiddenStates,
): Promise<TokenBatch[]> {
  const size = model.hiddenSize;
  const shifted = batches.map(shiftedBatch);
  const rows = new EmbeddingRows(checkpoint, model);
  const loader = new WeightLoader(checkpoint, backend);
  try {
    const [ofEmbedding, ofHidden] = [await loader.norm(embeddingNorm), await loader.norm(hiddenNorm)];
    const project = await loader.projection(projection);
    for (const [index, { sequences, length, ids }] of shifted.entries()) {
      const next = ofEmbedding(await rows.embed(ids));
      const previous = ofHidden(states.get(index));
      const joined = new Float32Array(2 * next.length);
      for (let row = 0; row < sequences * length; row++) {
        // The sequences of `previous` are longer by one token.
        const from = (row + Math.floor(row / length)) * size;
        joined.set(next.subarray(row * size, (row + 1) * size), 2 * row * size);
        joined.set(previous.subarray(from, from + size), (2 * row + 1) * size);
      }
      states.set(index, project(joined));
    }
    return shifted;
  } finally {
    loader.dispose();
  }
}

/** The next token of every token but the last. Padding stays padding. */
function shiftedBatch({ sequences, length, ids, mask, keys, domains }: TokenBatch): TokenBatch {
  if (length < 2) throw new RangeError("a sequence of one token has no next one to predict");
  const next = <T extends Int32Array | Uint8Array>(values: T): T => values.filter((_, i) => i % length !== 0) as T;
  return {
    sequences,
    length: length - 1,
    ids: next(ids),
    ...(mask !== undefined && { mask: next(mask) }),
    ...(keys !== undefined && { keys }),
    ...(domains !== undefined && { domains }),
  };
}
