import type { ConfigReader } from "../config.js";
import type { ModelDescription, RouterDescription } from "../description.js";
import type { QueryTemperature } from "../mixers/descriptions.js";
import { deepseekMoe, latentAttention } from "./deepseek-parts.js";
import { denseBlock, describeDecoder, type Frame, preNorm, readFrame, type TensorNames } from "./parts.js";

/** Mistral 4: latent attention whose queries grow with the position, softmax router with groups, shared experts. */
export function describeMistral4(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const firstMoe = config.number("first_k_dense_replace", 0);
  const adjacent = config.boolean("rope_interleave", true);
  const temperature = readTemperature(config);
  return describeDecoder("mistral4", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: { ...latentAttention(`${prefix}self_attn.`, frame, adjacent), temperature },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: index >= firstMoe ? deepseekMoe(prefix, frame, router(prefix, frame)) : denseBlock(prefix, frame),
  }));
}

function readTemperature(config: ConfigReader): QueryTemperature | undefined {
  const rope = config.object("rope_parameters", "rope_scaling");
  if (rope?.has("llama_4_scaling_beta") !== true) return undefined;
  const floorScale = rope.count("original_max_position_embeddings");
  return { floorScale, scale: rope.number("llama_4_scaling_beta"), first: 0 };
}

function router(prefix: string, { config, topK }: Frame): RouterDescription {
  const count = config.count("n_group", 1);
  return {
    weight: `${prefix}mlp.gate.weight`,
    scores: "softmax",
    topK,
    ...(count > 1 ? { groups: { count, kept: config.count("topk_group"), score: "sum-of-two" } } : {}),
    normalise: config.boolean("norm_topk_prob", true),
    epsilon: 1e-20,
    scale: config.number("routed_scaling_factor", 1),
  };
}
