import { expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import type { JsonObject } from "../../src/checkpoint/json.js";
import { describeModel } from "../../src/model/describe.js";
import { forwardCases } from "../support/goldens.js";

// An option that is overlooked gives a model that runs and talks nonsense: every key of a golden's config.json is read (used or
// refused), or one of these, which change nothing that is computed here.

/** Of training, of transformers itself, and of other parts of a multimodal model. */
const NOTHING = [
  /^(architectures|transformers_version|torch_dtype|dtype|initializer_range|use_cache|pretraining_tp)$/,
  /(dropout|_pdrop|_loss_coef|_jitter_noise)$|^(output_router_logits|tie_encoder_decoder)$/,
  /_token_(id|index)$|^(vision_config|audio_config|vision_feature_layer)$|projector|^merged_hidden_size$/,
  // How transformers computes it, not what.
  /^(block_size|mamba_chunk_size|use_associative_scan|use_mamba_kernels|use_mambapy|enable_moe_fp32_combine)$/,
  /^model_type$|^quantization_config\.(activation_scheme|fmt|modules_to_not_convert)$|^rope_parameters\.mrope_/,
  // Indexers see every token (docs/architectures.md).
  /^index_(head_dim|n_heads)$/,
];

/** By family: other keys tell the same, what they belong to is not there, or transformers does not look at them either. */
const OF_FAMILY: Readonly<Record<string, RegExp>> = {
  dbrx: /^(attn_config|ffn_config)\.(_name|architectures|chunk|dtype|hidden_size|id2|is_enc|label2|model_type|moe_(jitter|loss)|output|problem|return|rope_theta)|^num_key_value_heads$/,
  deepseek_v2: /^(n_group|topk_group|norm_topk_prob)$/,
  deepseek_v32: /^(layer_types|mlp_bias)$/,
  exaone_moe: /^sliding_window_pattern$/,
  hunyuan_v1_moe: /^moe_intermediate_size$/,
  jetmoe: /^num_attention_heads$/,
  lfm2_moe: /^rms_norm_eps$/,
};
/** Sizes of latent attention follow from others; one group needs no number of groups; Qwen's windows are off. */
const FOLLOWING = /^(qk_head_dim|head_dim|num_key_value_heads|topk_group|sliding_window|intermediate_size)$/;
const WITH_FOLLOWING = /^(deepseek_v|dots1|glm4_moe|kimi_linear|mistral4|qwen)/;

/** A config that notes which keys are looked at, nested ones as `a.b`. */
function watched(value: unknown, path: string, seen: Set<string>): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return new Proxy(value, {
    get(target, key) {
      seen.add(`${path}${String(key)}`);
      return watched((target as JsonObject)[String(key)], `${path}${String(key)}.`, seen);
    },
  });
}

function unread(value: object, path: string, seen: ReadonlySet<string>): string[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = `${path}${key}`;
    if (!seen.has(name)) return [name.replace(/^text_config\./, "")];
    return typeof inner === "object" && inner !== null && !Array.isArray(inner) ? unread(inner, `${name}.`, seen) : [];
  });
}

test.each(forwardCases())("%s: no key of the config is overlooked", async (name, folder) => {
  const checkpoint = await Checkpoint.open(folder);
  await checkpoint.close();
  const seen = new Set<string>();
  const config = watched(checkpoint.config, "", seen) as JsonObject;
  const family = describeModel(config, checkpoint).family;
  const known = [
    ...NOTHING,
    ...(OF_FAMILY[family] ? [OF_FAMILY[family]] : []),
    ...(WITH_FOLLOWING.test(name) ? [FOLLOWING] : []),
  ];
  expect(unread(checkpoint.config, "", seen).filter((key) => !known.some((pattern) => pattern.test(key)))).toEqual([]);
});
