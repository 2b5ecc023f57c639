import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { ModelDescription } from "./description.js";
import { checkTokens, embeddingRows } from "./embedding.js";
import type { HiddenStates } from "./hidden-states.js";
import type { TokenBatch } from "./layer.js";

/** Bytes of rows that are kept, as float32. */
const KEPT_BYTES = 64 * 2 ** 20;
/** Rows that are read by one call, at most. */
const ROWS = 256;

/**
 * Rows of the embedding by token id. They are read where they lie when a token first comes; those that came last stay in
 * memory. The whole table of a large model has 1 to 2 GB, of which a text uses a few thousand rows.
 */
export class EmbeddingRows {
  private readonly kept = new Map<number, Float32Array>();
  private readonly most: number;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly model: Pick<ModelDescription, "embedding" | "embeddingScale" | "hiddenSize" | "vocabularySize">,
    bytes = KEPT_BYTES,
  ) {
    this.most = Math.max(1, Math.floor(bytes / (4 * model.hiddenSize)));
  }

  /** Embeds tokens, all of which are in the vocabulary: `[tokens, hidden]`. */
  async embed(ids: readonly number[] | Int32Array): Promise<Float32Array> {
    const { hiddenSize: hidden } = this.model;
    const out = new Float32Array(ids.length * hidden);
    const places = new Map<number, number[]>();
    for (const [i, id] of ids.entries()) {
      const row = this.kept.get(id);
      if (row === undefined) {
        const list = places.get(id);
        if (list === undefined) places.set(id, [i]);
        else list.push(i);
        continue;
      }
      out.set(row, i * hidden);
      // Moved to the end: a map keeps the order of insertion, so that the first is the one unused for longest.
      this.kept.delete(id);
      this.kept.set(id, row);
    }
    await Promise.all(
      runs([...places.keys()].sort((a, b) => a - b)).map(async ([begin, end]) => {
        const rows = await embeddingRows(this.checkpoint, this.model, begin, end);
        for (let id = begin; id < end; id++) {
          const row = rows.slice((id - begin) * hidden, (id - begin + 1) * hidden);
          for (const i of places.get(id)!) out.set(row, i * hidden);
          this.kept.set(id, row);
        }
      }),
    );
    for (const id of this.kept.keys()) {
      if (this.kept.size <= this.most) break;
      this.kept.delete(id);
    }
    return out;
  }
}

/** Embeds the tokens of each batch. Errors: those of `checkTokens`. */
export async function embedBatches(
  checkpoint: Checkpoint,
  model: ModelDescription,
  batches: readonly TokenBatch[],
  states: HiddenStates,
): Promise<void> {
  checkTokens(model, batches);
  const rows = new EmbeddingRows(checkpoint, model);
  for (const [index, { ids }] of batches.entries()) states.set(index, await rows.embed(ids));
}

/** Ranges `[begin, end)` of ids that follow each other, of ids in ascending order. */
function runs(ids: readonly number[]): [begin: number, end: number][] {
  const ranges: [number, number][] = [];
  for (const id of ids) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === id && id - last[0] < ROWS) last[1] = id + 1;
    else ranges.push([id, id + 1]);
  }
  return ranges;
}
