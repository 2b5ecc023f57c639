import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import type { ModelDescription, Norm, PredictionDescription } from "./description.js";
import { embed } from "./embedding.js";
import type { TokenBatch } from "./layer.js";
import { WeightLoader } from "./weight-loader.js";

/** Some batches with the hidden states of their tokens, `[sequences * length, hidden]` each. */
export interface HiddenBatches {
  readonly batches: readonly TokenBatch[];
  readonly hidden: readonly Float32Array[];
}

/** Norms the hidden states of all batches, as the final norm or a prediction layer's output norm does it. */
export async function normed(
  checkpoint: Checkpoint,
  backend: Backend,
  norm: Norm,
  hidden: readonly Float32Array[],
): Promise<Float32Array[]> {
  const apply = await new WeightLoader(checkpoint, backend).norm(norm);
  return hidden.map(apply);
}

/**
 * What a layer for multi-token prediction sees (DeepSeek-AI 2024, arXiv 2412.19437, Eq. 21): at each token the projection of
 * [norm(embedding of the next token), norm(hidden state)]. The last token of a sequence has no next one and is left out.
 *
 * @param input the tokens so far, with normed hidden states of the model or of the prediction layer before
 */
export async function predictionInput(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  { embeddingNorm, hiddenNorm, projection }: PredictionDescription,
  { batches, hidden }: HiddenBatches,
): Promise<HiddenBatches> {
  const size = model.hiddenSize;
  const shifted = batches.map(shiftedBatch);
  const embeddings = await embed(checkpoint, model, shifted);
  const loader = new WeightLoader(checkpoint, backend);
  try {
    const [ofEmbedding, ofHidden] = [await loader.norm(embeddingNorm), await loader.norm(hiddenNorm)];
    const project = await loader.projection(projection);
    const states = shifted.map((batch, index) => {
      const next = ofEmbedding(embeddings[index]!);
      const previous = ofHidden(hidden[index]!);
      const joined = new Float32Array(2 * next.length);
      const { sequences, length } = batch;
      for (let row = 0; row < sequences * length; row++) {
        // The sequences of `previous` are longer by one token.
        const from = (row + Math.floor(row / length)) * size;
        joined.set(next.subarray(row * size, (row + 1) * size), 2 * row * size);
        joined.set(previous.subarray(from, from + size), (2 * row + 1) * size);
      }
      return project(joined);
    });
    return { batches: shifted, hidden: states };
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
