import type { ConfigReader } from "../config.js";
import type { ModelDescription, MoeDescription } from "../description.js";
import type { ChannelDeltaRuleDescription } from "../mixers/descriptions.js";
import { correctedRouter, latentAttention } from "./deepseek-parts.js";
import {
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  layerTypes,
  linear,
  MIXTRAL_NAMES,
  preNorm,
  readExperts,
  readFrame,
  rmsNorm,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/** Kimi Linear: Kimi Delta Attention in most layers, latent attention without positions in the others; DeepSeek-V3's router. */
export function describeKimiLinear(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "moe_router_activation_func", ["sigmoid"]);
  expectOption(config, "moe_layer_freq", [1]);
  expectOption(config, "mla_use_nope", [true]);
  const topK = config.has("num_experts_per_token") ? "num_experts_per_token" : "num_experts_per_tok";
  const frame = readFrame(config, tensors, { topK, defaultEpsilon: 1e-5 });
  const full = new Set(config.object("linear_attn_config")?.integers("full_attn_layers") ?? []);
  const types = layerTypes(frame, ["full_attention", "linear_attention"], (layer) => {
    // The hub's files count layers from 1.
    const isFull = full.size > 0 ? full.has(layer + 1) : layer > 0 && layer % 4 === 0;
    return isFull ? "full_attention" : "linear_attention";
  });
  const isSparse = sparseByType(frame, config.number("first_k_dense_replace", 1));
  return describeDecoder("kimi_linear", frame, (index, prefix) => {
    const stored = `${prefix}block_sparse_moe.`;
    // transformers saves dense blocks under the name of the sparse ones.
    const dense = tensors.has(`${stored}gate_proj.weight`) && !tensors.has(`${prefix}mlp.gate_proj.weight`);
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer:
        types[index] === "full_attention"
          ? latentAttention(`${prefix}self_attn.`, frame, "none")
          : deltaAttention(`${prefix}self_attn.`, frame),
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: isSparse(index)
        ? moe(stored, frame)
        : {
            kind: "dense",
            ...gatedBlock(dense ? stored : `${prefix}mlp.`, config.count("intermediate_size"), frame),
          },
    };
  });
}

function moe(prefix: string, frame: Frame): MoeDescription {
  const { config, activation } = frame;
  const width = config.count("moe_intermediate_size");
  const shared = config.number("num_shared_experts", 1);
  return {
    kind: "moe",
    activation,
    router: correctedRouter(prefix, frame, {
      ...{ gate: "gate", groupsKey: "num_expert_group", normaliseKey: "moe_renormalize" },
    }),
    experts: readExperts(`${prefix}experts.`, width, frame, MIXTRAL_NAMES),
    ...(shared > 0 ? { shared: gatedBlock(`${prefix}shared_experts.`, width * shared, frame) } : {}),
  };
}

function deltaAttention(prefix: string, { config, hidden, epsilon }: Frame): ChannelDeltaRuleDescription {
  const stored = config.object("linear_attn_config");
  const read = (own: string, inner: string, usual: number) =>
    stored?.has(inner) ? stored.count(inner) : config.count(own, usual);
  const heads = read("linear_num_heads", "num_heads", 32);
  const headSize = read("linear_head_dim", "head_dim", 128);
  const size = heads * headSize;
  return {
    kind: "channel-delta-rule",
    heads,
    headSize,
    kernel: read("linear_conv_kernel_dim", "short_conv_kernel_size", 4),
    query: linear(`${prefix}q_proj`, [size, hidden]),
    key: linear(`${prefix}k_proj`, [size, hidden]),
    value: linear(`${prefix}v_proj`, [size, hidden]),
    convolutions: [`${prefix}q_conv1d.weight`, `${prefix}k_conv1d.weight`, `${prefix}v_conv1d.weight`],
    decay: [linear(`${prefix}f_a_proj`, [headSize, hidden]), linear(`${prefix}f_b_proj`, [size, headSize])],
    logRate: `${prefix}A_log`,
    logRateShape: [1, 1, heads, 1],
    decayBias: `${prefix}dt_bias`,
    beta: linear(`${prefix}b_proj`, [heads, hidden]),
    gate: [linear(`${prefix}g_a_proj`, [headSize, hidden]), linear(`${prefix}g_b_proj`, [size, headSize])],
    norm: rmsNorm(`${prefix}o_norm.weight`, headSize, epsilon),
    output: linear(`${prefix}o_proj`, [hidden, size]),
  };
}
