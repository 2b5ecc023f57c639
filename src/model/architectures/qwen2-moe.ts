import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  groupedQueryAttention,
  layerTypes,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";
import { qwenFeedForward, sparseLayers } from "./qwen-layers.js";

/** Qwen2-MoE: biases on queries, keys and values, a weighted shared expert, every other early layer with a window on request. */
export function describeQwen2Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const rope = readRope(config, readHeads(frame).headSize, 10_000);
  const isMoe = sparseLayers(config);
  const bias = config.boolean("qkv_bias", true);
  const windowed = config.boolean("use_sliding_window", false);
  const last = config.number("max_window_layers", 28);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    windowed && layer % 2 === 0 && layer < last ? "sliding_attention" : "full_attention",
  );
  return describeDecoder("qwen2_moe", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias, outputBias: false }),
      window: types[index] === "sliding_attention" ? config.count("sliding_window", 4096) : undefined,
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: qwenFeedForward(prefix, frame, isMoe(index), { normalise: false, shared: true }),
  }));
}
