import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { decode } from "../checkpoint/dtypes.js";
import { ReamError } from "../errors.js";
import type { ModelDescription } from "./description.js";
import type { TokenBatch } from "./layer.js";
import { readWeight, weightBytes } from "./read-weight.js";

/** Bytes of the embedding that are in memory at a time: large models' embeddings alone would fill a small machine. */
const CHUNK_BYTES = 32 * 1024 * 1024;

/** Refuses what a model cannot take. Errors: SEQUENCE_LENGTH, TOKEN_RANGE. */
export function checkTokens(
  { family, vocabularySize: vocabulary, exactPositions = Infinity }: ModelDescription,
  batches: readonly TokenBatch[],
): void {
  for (const { ids, length } of batches) {
    if (length > exactPositions) {
      throw new ReamError("SEQUENCE_LENGTH", `a sequence of ${length} tokens is longer than ${exactPositions}`, {
        hint: `From there on, ${family} attends to chosen tokens only, which is not supported. Give shorter sequences.`,
      });
    }
    const outside = ids.find((id) => id < 0 || id >= vocabulary);
    if (outside !== undefined) {
      throw new ReamError("TOKEN_RANGE", `token id ${outside} is outside the model's vocabulary of ${vocabulary}`, {
        hint: "The tokens come from another model's tokenizer.",
      });
    }
  }
}

/** Embeds the tokens of each batch: one `[sequences * length, hidden]` for each. Errors: those of `checkTokens`. */
export async function embed(
  checkpoint: Checkpoint,
  model: ModelDescription,
  batches: readonly TokenBatch[],
): Promise<Float32Array[]> {
  checkTokens(model, batches);
  const { hiddenSize: hidden, vocabularySize: vocabulary } = model;
  const outputs = batches.map(({ ids }) => new Float32Array(ids.length * hidden));
  const bytes = weightBytes(checkpoint, model.embedding);
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / (bytes / vocabulary)));
  for (let begin = 0; begin < vocabulary; begin += chunkRows) {
    const end = Math.min(vocabulary, begin + chunkRows);
    if (!batches.some(({ ids }) => ids.some((id) => id >= begin && id < end))) continue;
    const rows = await embeddingRows(checkpoint, model, begin, end);
    for (const [index, { ids }] of batches.entries()) {
      for (const [t, id] of ids.entries()) {
        if (id < begin || id >= end) continue;
        outputs[index]!.set(rows.subarray((id - begin) * hidden, (id - begin + 1) * hidden), t * hidden);
      }
    }
  }
  return outputs;
}

/** Rows `[begin, end)` of the embedding, times the model's factor. */
export async function embeddingRows(
  checkpoint: Checkpoint,
  { embedding, embeddingScale: scale = 1 }: Pick<ModelDescription, "embedding" | "embeddingScale">,
  begin: number,
  end: number,
): Promise<Float32Array> {
  const rows = decode(await readWeight(checkpoint, embedding, [begin, end]));
  return scale === 1 ? rows : rows.map((value) => value * scale);
}
