import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import { stackedExperts } from "../storage/stacked.js";
import {
  describeDecoder,
  expectOption,
  gatedBlock,
  groupedQueryAttention,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/** The text model of Aria: stacked experts whose outputs are columns, shared experts in every layer. */
export function describeAriaText(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "hidden_act", ["silu"]);
  const frame = readFrame(config, tensors, { topK: "moe_topk" });
  const { experts: count, hidden, topK, activation } = frame;
  const rope = readRope(config, readHeads(frame).headSize, 10_000);
  const width = config.count("intermediate_size");
  const shared = config.count("moe_num_shared_experts", 2);
  const bias = config.boolean("attention_bias", false);
  return describeDecoder("aria_text", frame, (_, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: {
      kind: "moe",
      activation,
      // The softmax of the chosen logits alone, which is that of all logits divided by the sum of the chosen ones.
      router: { weight: `${prefix}mlp.router.weight`, scores: "softmax", topK, normalise: true },
      experts: stackedExperts({
        ...{ count, width, hidden, layout: "columns" },
        gateUp: `${prefix}mlp.experts.fc1.weight`,
        down: `${prefix}mlp.experts.fc2.weight`,
      }),
      shared: gatedBlock(`${prefix}mlp.shared_experts.`, width * shared, frame, {
        bias: config.boolean("mlp_bias", false),
      }),
    },
  }));
}
