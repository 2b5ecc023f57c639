import type { ConfigReader } from "../config.js";
import type { ModelDescription, MoeDescription, Norm, Sublayer } from "../description.js";
import type { AttentionDescription } from "../mixers/descriptions.js";
import { readRope, ropeOfType } from "../rope.js";
import { stackedExperts } from "../storage/stacked.js";
import { textModel } from "./multimodal.js";
import {
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  headNorms,
  layerTypes,
  linear,
  readFrame,
  refuseOption,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

const TYPES = ["full_attention", "sliding_attention"] as const;
type LayerType = (typeof TYPES)[number];

/**
 * Gemma 4 with experts (26B-A4B): routed experts beside a dense block, each with norms of its own, and a router that norms
 * and scales the same hidden states; layers without a window have larger heads whose keys may be their values.
 */
export function describeGemma4(outer: ConfigReader, tensors: TensorNames): ModelDescription {
  const { config, names } = textModel(outer, { tied: true });
  expectOption(config, "enable_moe_block", [true]);
  expectOption(config, "use_bidirectional_attention", ["vision"]);
  expectOption(config, "num_kv_shared_layers", [0]);
  // Absent, it means that layers have inputs of their own.
  const perLayer = config.number("hidden_size_per_layer_input", 256);
  if (perLayer !== 0) refuseOption("hidden_size_per_layer_input", perLayer, [0]);
  const frame = readFrame(config, tensors, { topK: "top_k_experts", activation: "hidden_activation" });
  const { hidden, epsilon, layers } = frame;
  const norm = (name: string): Norm => rmsNorm(`${name}.weight`, hidden, epsilon);
  const types = layerTypes(frame, TYPES, (layer) =>
    (layer + 1) % 6 === 0 || layer === layers - 1 ? "full_attention" : "sliding_attention",
  );
  const around = (before: Norm | undefined, after: string): Sublayer => ({
    ...(before && { inputNorm: before }),
    outputNorm: norm(after),
  });
  return describeDecoder(
    outer.string("model_type"),
    frame,
    (index, prefix) => ({
      aroundMixer: around(norm(`${prefix}input_layernorm`), `${prefix}post_attention_layernorm`),
      mixer: attention(`${prefix}self_attn.`, frame, index, types[index]!),
      // Router, experts and dense block see the hidden states themselves.
      aroundFeedForward: around(undefined, `${prefix}post_feedforward_layernorm`),
      feedForward: feedForward(prefix, frame, norm),
      outputScale: `${prefix}layer_scalar`,
    }),
    {
      ...names,
      embeddingScale: Math.fround(Math.sqrt(hidden)),
      ...(config.has("final_logit_softcapping") ? { logitCap: config.number("final_logit_softcapping") } : {}),
    },
  );
}

function feedForward(prefix: string, frame: Frame, norm: (name: string) => Norm): MoeDescription {
  const { config, hidden, epsilon, experts: count, topK, activation } = frame;
  return {
    kind: "moe",
    activation,
    router: {
      inputNorm: { ...rmsNorm(`${prefix}router.scale`, hidden, epsilon), factor: hidden ** -0.5 },
      weight: `${prefix}router.proj.weight`,
      expertScale: `${prefix}router.per_expert_scale`,
      scores: "softmax",
      topK,
      normalise: true,
    },
    expertInput: norm(`${prefix}pre_feedforward_layernorm_2`),
    experts: stackedExperts({
      ...{ count, width: config.count("moe_intermediate_size"), hidden, layout: "rows" },
      gateUp: `${prefix}experts.gate_up_proj`,
      down: `${prefix}experts.down_proj`,
    }),
    expertOutput: norm(`${prefix}post_feedforward_layernorm_2`),
    shared: {
      ...gatedBlock(`${prefix}mlp.`, config.count("intermediate_size"), frame),
      inputNorm: norm(`${prefix}pre_feedforward_layernorm`),
      outputNorm: norm(`${prefix}post_feedforward_layernorm_1`),
    },
  };
}

function attention(prefix: string, frame: Frame, index: number, type: LayerType): AttentionDescription {
  const { config, hidden, epsilon } = frame;
  const heads = config.count("num_attention_heads");
  const { headSize, keyValueHeads } = sizes(config, index, type);
  const bias = config.boolean("attention_bias", false);
  const full = type === "full_attention";
  const key = linear(`${prefix}k_proj`, [keyValueHeads * headSize, hidden], bias);
  const sharesKeys = full && config.boolean("attention_k_eq_v", false);
  return {
    kind: "attention",
    ...{ heads, keyValueHeads, headSize, scale: 1 },
    rope: readRope(ropeOfType(config, type), headSize, full ? 1e6 : 10_000, { partial: full ? 0.25 : 1 }),
    query: linear(`${prefix}q_proj`, [heads * headSize, hidden], bias),
    key,
    value: sharesKeys ? key : linear(`${prefix}v_proj`, [keyValueHeads * headSize, hidden], bias),
    output: linear(`${prefix}o_proj`, [hidden, heads * headSize], bias),
    ...headNorms(prefix, headSize, epsilon),
    valueNorm: { kind: "rms", size: headSize, epsilon },
    window: full ? undefined : config.count("sliding_window", 512),
  };
}

/** Heads of a layer: what transformers saves under `per_layer_config`, or the hub's keys of layers without a window. */
function sizes(config: ConfigReader, index: number, type: LayerType) {
  const own = config.object("per_layer_config");
  const layer = own?.object(String(index));
  const usual = { headSize: config.count("head_dim", 256), keyValueHeads: config.count("num_key_value_heads", 4) };
  if (own !== undefined) {
    return {
      headSize: layer?.count("head_dim", usual.headSize) ?? usual.headSize,
      keyValueHeads: layer?.count("num_key_value_heads", usual.keyValueHeads) ?? usual.keyValueHeads,
    };
  }
  if (type === "sliding_attention") return usual;
  const sharesKeys = config.boolean("attention_k_eq_v", false);
  return {
    headSize: config.count("global_head_dim", 512),
    keyValueHeads: sharesKeys ? config.count("num_global_key_value_heads", usual.keyValueHeads) : usual.keyValueHeads,
  };
}
