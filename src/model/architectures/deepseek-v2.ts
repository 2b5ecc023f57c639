import type { ConfigReader } from "../config.js";
import type { ModelDescription, RouterDescription } from "../description.js";
import { deepseekMoe, latentAttention } from "./deepseek-parts.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  type Frame,
  preNorm,
  readFrame,
  type TensorNames,
} from "./parts.js";

/** DeepSeek-V2: latent attention, softmax router whose weights are scaled and never normalised, shared experts. */
export function describeDeepseekV2(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["softmax"]);
  expectOption(config, "topk_method", ["greedy", "group_limited_greedy"]);
  expectOption(config, "moe_layer_freq", [1]);
  expectOption(config, "mlp_bias", [false]);
  const frame = readFrame(config, tensors);
  const firstMoe = config.number("first_k_dense_replace", 0);
  return describeDecoder("deepseek_v2", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: latentAttention(`${prefix}self_attn.`, frame, true),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: index >= firstMoe ? deepseekMoe(prefix, frame, router(prefix, frame)) : denseBlock(prefix, frame),
  }));
}

function router(prefix: string, { config, topK }: Frame): RouterDescription {
  const grouped = config.string("topk_method", "greedy") === "group_limited_greedy";
  const count = grouped ? config.count("n_group") : 1;
  return {
    weight: `${prefix}mlp.gate.weight`,
    scores: "softmax",
    topK,
    ...(count > 1 ? { groups: { count, kept: config.count("topk_group"), score: "max" } } : {}),
    normalise: false,
    scale: config.number("routed_scaling_factor", 1),
  };
}
