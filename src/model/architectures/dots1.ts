import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import { correctedRouter, deepseekMoe } from "./deepseek-parts.js";
import {
  denseBlock,
  describeDecoder,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/** dots.llm1: grouped-query attention with normed heads and DeepSeek-V3's experts; late layers may have a window. */
export function describeDots1(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const bias = config.boolean("attention_bias", false);
  const firstMoe = config.number("first_k_dense_replace", 0);
  const firstWindow = config.number("max_window_layers", 62);
  const windowed = config.has("sliding_window");
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    windowed && layer >= firstWindow ? "sliding_attention" : "full_attention",
  );
  return describeDecoder("dots1", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
      window: types[index] === "sliding_attention" ? config.count("sliding_window") : undefined,
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward:
      index >= firstMoe ? deepseekMoe(prefix, frame, correctedRouter(prefix, frame)) : denseBlock(prefix, frame),
  }));
}
