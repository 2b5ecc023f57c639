import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { AttentionDescription } from "../mixers/descriptions.js";
import { readRope, ropeOfType } from "../rope.js";
import { correctedRouter, deepseekMoe } from "./deepseek-parts.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  type Frame,
  layerTypes,
  linear,
  preNorm,
  readFrame,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/**
 * MiMo-V2-Flash: most layers have a window, sinks, twice as many key heads and rotary angles of their own; values are smaller
 * than keys and scaled; DeepSeek-V3's experts without shared ones.
 */
export function describeMimoV2Flash(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "topk_method", ["noaux_tc"]);
  expectOption(config, "add_full_attention_sink_bias", [false]);
  expectOption(config, "add_swa_attention_sink_bias", [true]);
  expectOption(config, "attention_projection_layout", ["split"]);
  expectOption(config, "n_shared_experts", [0]);
  const frame = readFrame(config, tensors, {
    epsilon: config.has("layernorm_epsilon") ? "layernorm_epsilon" : "rms_norm_eps",
    defaultEpsilon: 1e-5,
  });
  // The hub's files have a number for each layer: 1 for a window, and 1 for experts.
  const pattern = config.integers("hybrid_layer_pattern");
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) => {
    const full = pattern.length > 0 ? pattern[layer] === 0 : layer === 0 || (layer + 1) % 6 === 0;
    return full ? "full_attention" : "sliding_attention";
  });
  const listed = config.has("mlp_layer_types") ? [] : config.integers("moe_layer_freq");
  const isSparse = listed.length > 0 ? (layer: number) => listed[layer] === 1 : sparseByType(frame, 1);
  return describeDecoder("mimo_v2_flash", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: attention(`${prefix}self_attn.`, frame, types[index]!),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isSparse(index)
      ? deepseekMoe(prefix, frame, correctedRouter(prefix, frame))
      : denseBlock(prefix, frame),
  }));
}

function attention(
  prefix: string,
  { config, hidden }: Frame,
  type: "full_attention" | "sliding_attention",
): AttentionDescription {
  const sliding = type === "sliding_attention";
  const heads = config.count("num_attention_heads");
  const headSize = config.count("head_dim", 192);
  const valueSize = config.count("v_head_dim", 128);
  for (const [key, size] of [
    ["swa_num_attention_heads", heads],
    ["swa_head_dim", headSize],
    ["swa_v_head_dim", valueSize],
    ["swa_num_key_value_heads", 2 * config.count("num_key_value_heads")],
  ] as const)
    expectOption(config, key, [size]);
  const keyValueHeads = config.count("num_key_value_heads") * (sliding ? 2 : 1);
  const bias = config.boolean("attention_bias", false);
  const typed = ropeOfType(config, type);
  const rope = readRope(typed, headSize, 5e6, { partial: 0.334 });
  const { theta } = sliding && typed === config ? { theta: config.number("swa_rope_theta", 10_000) } : rope;
  return {
    kind: "attention",
    ...{ heads, keyValueHeads, headSize, valueSize, scale: headSize ** -0.5 },
    valueScale: config.values.attention_value_scale === null ? 1 : config.number("attention_value_scale"),
    rope: { ...rope, theta },
    query: linear(`${prefix}q_proj`, [heads * headSize, hidden], bias),
    key: linear(`${prefix}k_proj`, [keyValueHeads * headSize, hidden], bias),
    value: linear(`${prefix}v_proj`, [keyValueHeads * valueSize, hidden], bias),
    output: linear(`${prefix}o_proj`, [hidden, heads * valueSize]),
    ...(sliding ? { window: window(config), sinks: `${prefix}attention_sink_bias` } : {}),
  };
}

/** `sliding_window_size` of the hub's files counts the earlier tokens alone, as in the model's own code. */
function window(config: ConfigReader): number {
  return config.has("sliding_window_size")
    ? config.count("sliding_window_size") + 1
    : config.count("sliding_window", 129);
}
