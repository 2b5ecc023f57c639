import { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { ChannelDeltaRuleDescription, LatentAttentionDescription } from "../mixers/descriptions.js";
import { correctedRouter, deepseekMoe, latentAttention } from "./deepseek-parts.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  type Frame,
  layerTypes,
  linear,
  preNorm,
  readFrame,
  rmsNorm,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/**
 * Ling 3.0: Kimi Delta Attention whose decays may be bounded in most layers, latent attention with a gate of each head in the
 * others; DeepSeek-V3's router.
 */
export function describeBailingHybrid(stored: ConfigReader, tensors: TensorNames): ModelDescription {
  const config = inDeepseekKeys(stored);
  expectOption(config, "q_lora_rank", []);
  const frame = readFrame(config, tensors);
  const group = config.count("layer_group_size", 6);
  const types = layerTypes(frame, ["full_attention", "linear_attention"], (layer) =>
    (layer + 1) % group === 0 ? "full_attention" : "linear_attention",
  );
  const isSparse = sparseByType(frame, config.number("first_k_dense_replace", 2));
  const embedding = "model.word_embeddings.weight";
  const model = describeDecoder("bailing_hybrid", frame, (index, prefix) => {
    const router = correctedRouter(prefix, frame);
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer:
        types[index] === "full_attention"
          ? gatedLatentAttention(`${prefix}attention.`, frame)
          : deltaAttention(`${prefix}attention.`, frame),
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: isSparse(index)
        ? deepseekMoe(prefix, frame, { ...router, selectionBias: `${prefix}mlp.gate.expert_bias` })
        : denseBlock(prefix, frame),
    };
  });
  const tied = model.outputHead.weight === model.embedding;
  return { ...model, embedding, ...(tied && { outputHead: { ...model.outputHead, weight: embedding } }) };
}

/** The config with the keys that DeepSeek-V3 has for the same, and what absent ones mean. */
function inDeepseekKeys({ values }: ConfigReader): ConfigReader {
  return new ConfigReader({
    ...values,
    n_group: values.n_group ?? values.num_expert_group ?? 8,
    topk_group: values.topk_group ?? 4,
    norm_topk_prob: values.norm_topk_prob ?? values.moe_renormalize ?? true,
    num_experts_per_tok: values.num_experts_per_tok ?? values.num_experts_per_token ?? 8,
    n_shared_experts: values.n_shared_experts ?? values.num_shared_experts ?? 1,
    routed_scaling_factor: values.routed_scaling_factor ?? 2.5,
    rope_theta: values.rope_theta ?? 6e6,
    max_position_embeddings: values.max_position_embeddings ?? values.model_max_length ?? 262_144,
  });
}

function gatedLatentAttention(prefix: string, frame: Frame): LatentAttentionDescription {
  const attention = latentAttention(prefix, frame, true);
  const { heads, output } = attention;
  const bias = output.bias !== undefined;
  return {
    ...attention,
    output: linear(`${prefix}dense`, output.shape, bias),
    gate: linear(`${prefix}g_proj`, [heads, frame.hidden]),
  };
}

function deltaAttention(prefix: string, { config, hidden, epsilon }: Frame): ChannelDeltaRuleDescription {
  const heads = config.count(["linear_num_heads", "num_attention_heads"]);
  // transformers 5.23 writes the size of the rotated part as `head_dim`.
  const headSize = config.count(["linear_head_dim", "head_dim"], 128);
  const size = heads * headSize;
  const bounded = config.boolean("kda_safe_gate", true);
  return {
    kind: "channel-delta-rule",
    heads,
    headSize,
    kernel: config.count(["linear_conv_kernel_dim", "short_conv_kernel_size"], 4),
    query: linear(`${prefix}q_proj`, [size, hidden]),
    key: linear(`${prefix}k_proj`, [size, hidden]),
    value: linear(`${prefix}v_proj`, [size, hidden]),
    convolutions: [`${prefix}q_conv1d.weight`, `${prefix}k_conv1d.weight`, `${prefix}v_conv1d.weight`],
    decay: [linear(`${prefix}f_proj`, [size, hidden])],
    logRate: `${prefix}A_log`,
    logRateShape: [heads],
    decayBias: `${prefix}dt_bias`,
    ...(bounded && { lowestLogDecay: config.number("kda_lower_bound", -5) }),
    beta: linear(`${prefix}b_proj`, [heads, hidden]),
    gate: [linear(`${prefix}g_proj`, [size, hidden])],
    norm: rmsNorm(`${prefix}o_norm.weight`, headSize, epsilon),
    output: linear(`${prefix}dense`, [hidden, size]),
  };
}
