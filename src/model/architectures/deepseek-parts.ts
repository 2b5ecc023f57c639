import type { ConfigReader } from "../config.js";
import type { MoeDescription, RouterDescription } from "../description.js";
import type { LatentAttentionDescription } from "../mixers/descriptions.js";
import { readRope } from "../rope.js";
import { type Frame, gatedBlock, linear, readExperts, rmsNorm } from "./parts.js";

/** The latent norms have this epsilon whatever `rms_norm_eps` says. */
const LATENT_EPSILON = 1e-6;

/**
 * Multi-head latent attention in DeepSeek's keys and names. `adjacent`: the pairing of rotated dimensions; "none": nothing is
 * rotated.
 */
export function latentAttention(prefix: string, frame: Frame, adjacent: boolean | "none"): LatentAttentionDescription {
  const { config, hidden } = frame;
  const heads = config.count("num_attention_heads");
  const plainSize = config.count("qk_nope_head_dim");
  const rotarySize = config.count("qk_rope_head_dim");
  const valueSize = config.count("v_head_dim");
  const rank = config.count("kv_lora_rank");
  const bias = config.boolean("attention_bias", false);
  const headSize = plainSize + rotarySize;
  const pairing = adjacent === true ? "adjacent" : "halves";
  const rope = adjacent === "none" ? undefined : readRope(config, rotarySize, 10_000, { pairing, whole: true });
  return {
    kind: "latent-attention",
    heads,
    plainSize,
    rotarySize,
    valueSize,
    rank,
    scale: headSize ** -0.5 * (rope === undefined ? 1 : yarnGrowth(config) ** 2),
    rope,
    query: config.has("q_lora_rank")
      ? {
          down: linear(`${prefix}q_a_proj`, [config.count("q_lora_rank"), hidden], bias),
          norm: rmsNorm(`${prefix}q_a_layernorm.weight`, config.count("q_lora_rank"), LATENT_EPSILON),
          up: linear(`${prefix}q_b_proj`, [heads * headSize, config.count("q_lora_rank")]),
        }
      : linear(`${prefix}q_proj`, [heads * headSize, hidden]),
    latent: linear(`${prefix}kv_a_proj_with_mqa`, [rank + rotarySize, hidden], bias),
    latentNorm: rmsNorm(`${prefix}kv_a_layernorm.weight`, rank, LATENT_EPSILON),
    keyValue: linear(`${prefix}kv_b_proj`, [heads * (plainSize + valueSize), rank]),
    output: linear(`${prefix}o_proj`, [hidden, heads * valueSize], bias),
  };
}

/** m = 0.1 mscale_all_dim ln(factor) + 1 under YaRN; attention is scaled by its square. */
function yarnGrowth(config: ConfigReader): number {
  const scaling = config.object("rope_parameters", "rope_scaling");
  const all = scaling?.number("mscale_all_dim", 0) ?? 0;
  if (scaling === undefined || all === 0) return 1;
  const factor = scaling.number("factor");
  return factor <= 1 ? 1 : 0.1 * all * Math.log(factor) + 1;
}

/** Sigmoid router with a correction bias and groups (DeepSeek-V3), as several families have it. */
export function correctedRouter(
  prefix: string,
  { config, topK }: Frame,
  { gate = "mlp.gate", groupsKey = "n_group", normaliseKey = "norm_topk_prob" } = {},
): RouterDescription {
  const count = config.count(groupsKey, 1);
  return {
    weight: `${prefix}${gate}.weight`,
    selectionBias: `${prefix}${gate}.e_score_correction_bias`,
    scores: "sigmoid",
    topK,
    ...(count > 1 ? { groups: { count, kept: config.count("topk_group"), score: "sum-of-two" } } : {}),
    normalise: config.boolean(normaliseKey, true),
    epsilon: 1e-20,
    scale: config.number("routed_scaling_factor", 1),
  };
}

/** A DeepSeek block: routed experts, and shared ones that are one wide expert. */
export function deepseekMoe(
  prefix: string,
  frame: Frame,
  router: RouterDescription,
  { sharedKey = "n_shared_experts" } = {},
): MoeDescription {
  const { config, activation } = frame;
  const width = config.count("moe_intermediate_size");
  const shared = config.has(sharedKey) ? config.number(sharedKey) : 0;
  return {
    kind: "moe",
    activation,
    router,
    experts: readExperts(`${prefix}mlp.experts.`, width, frame),
    ...(shared > 0 ? { shared: gatedBlock(`${prefix}mlp.shared_experts.`, width * shared, frame) } : {}),
  };
}
