import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Tensor } from "../checkpoint/tensor.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { type ForwardTap, forward, OutputHead } from "../model/forward.js";
import type { TokenBatch } from "../model/layer.js";
import type { TokenInputs } from "./token-file.js";

/** All tensors are in memory before they are written. */
const MAX_BYTES = 2 ** 31;

/**
 * Runs a model and keeps what it computes, under the names and in the shapes of the reference data: `logits`
 * `[B, T, V]`, `hidden.<l>` `[B, T, H]`, `moe.<l>.input | output` `[B, T, H]`, `moe.<l>.router_logits` `[B*T, E]`,
 * `moe.<l>.selected | weights` `[B*T, k]` (experts in ascending order), `input_ids`; of a second input only the logits.
 * Errors: FORWARD_TOO_LARGE, TOKEN_RANGE.
 */
export async function forwardTensors(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  { first, second }: TokenInputs,
): Promise<Map<string, Tensor>> {
  checkSize(model, first.ids.length);
  const tensors = new Map<string, Tensor>();
  const put = (name: string, values: Float32Array | Int32Array, shape: readonly number[]) => {
    const dtype = values instanceof Int32Array ? "I32" : "F32";
    tensors.set(name, { dtype, shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) });
  };
  const rows = first.ids.length;
  const states = [first.sequences, first.length, model.hiddenSize];
  const tap: ForwardTap = {
    hidden: (layer, _, hidden) => put(`hidden.${layer}`, hidden, states),
    moe: (layer, _, input, { router }, output) => {
      put(`moe.${layer}.input`, input, states);
      put(`moe.${layer}.output`, output, states);
      put(`moe.${layer}.router_logits`, router.logits, [rows, model.experts]);
      put(`moe.${layer}.selected`, router.routing.selected, [rows, model.topK]);
      put(`moe.${layer}.weights`, router.routing.weights, [rows, model.topK]);
    },
  };
  const head = await OutputHead.load(checkpoint, model, backend);
  try {
    const logits = async (batch: TokenBatch, suffix: string, batchTap: ForwardTap) => {
      const [hidden] = await forward(checkpoint, model, backend, [batch], batchTap);
      put(`input_ids${suffix}`, batch.ids, [batch.sequences, batch.length]);
      put(`logits${suffix}`, head.logits(hidden!), [batch.sequences, batch.length, model.vocabularySize]);
    };
    await logits(first, "", tap);
    if (second !== undefined) await logits(second, "_b", {});
  } finally {
    head.dispose();
  }
  return tensors;
}

function checkSize({ layers, hiddenSize, vocabularySize, experts, topK }: ModelDescription, tokens: number): void {
  const moe = layers.filter(isMoe).length;
  const perToken = vocabularySize + layers.length * hiddenSize + moe * (2 * hiddenSize + experts + 2 * topK);
  const bytes = 4 * tokens * perToken;
  if (bytes <= MAX_BYTES) return;
  const most = Math.floor(MAX_BYTES / (4 * perToken));
  throw new ReamError("FORWARD_TOO_LARGE", `the tensors of ${tokens} tokens would take ${bytes} bytes`, {
    where: "--ids",
    hint: `Give at most ${most} tokens at a time.`,
  });
}
