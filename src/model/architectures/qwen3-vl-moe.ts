import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { stackedExperts } from "../storage/stacked.js";
import { textModel } from "./multimodal.js";
import { describeDecoder, readFrame, type TensorNames } from "./parts.js";
import { qwen3Layers } from "./qwen3-moe.js";

/**
 * Qwen3-VL-MoE: the text model is Qwen3-MoE with stacked experts. Their outputs are columns in the hub's files, and rows in
 * those that transformers saves.
 */
export function describeQwen3VlMoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const { config: inner, names } = textModel(config);
  const frame = readFrame(inner, tensors);
  const { experts: count, hidden } = frame;
  const width = inner.count("moe_intermediate_size");
  const layer = qwen3Layers(frame);
  return describeDecoder(
    config.string("model_type"),
    frame,
    (index, prefix) => {
      const described = layer(index, prefix);
      if (described.feedForward.kind !== "moe") return described;
      const names = { gateUp: `${prefix}mlp.experts.gate_up_proj`, down: `${prefix}mlp.experts.down_proj` };
      const rowsOf = (name: string) => tensors.tensors?.get(name)?.shape[1];
      // One of them tells: not both can be square.
      const layout = rowsOf(names.gateUp) === 2 * width && rowsOf(names.down) === hidden ? "rows" : "columns";
      const experts = stackedExperts({ ...{ count, width, hidden, layout }, ...names });
      // Its weights are always divided by their sum, whatever norm_topk_prob says.
      const router = { ...described.feedForward.router, normalise: true };
      return { ...described, feedForward: { ...described.feedForward, router, experts } };
    },
    names,
  );
}
