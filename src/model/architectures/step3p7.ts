import type { Activation } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import { ConfigReader } from "../config.js";
import type { ModelDescription, MoeDescription } from "../description.js";
import type { AttentionDescription } from "../mixers/descriptions.js";
import { readRope, ropeOfType } from "../rope.js";
import { stackedExperts } from "../storage/stacked.js";
import {
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  layerTypes,
  linear,
  readFrame,
  sparseByType,
  type TensorNames,
} from "./parts.js";
import { plusOneNorm } from "./qwen-hybrid.js";

const TYPES = ["full_attention", "sliding_attention"] as const;
type LayerType = (typeof TYPES)[number];

/**
 * The text model of Step 3.7: attention whose output is multiplied by a gate of each head, with other numbers of heads and
 * other angles in layers with a window; sigmoid router with a correction bias, a shared expert, activations cut after the
 * function in some layers.
 */
export function describeStep3p7(outer: ConfigReader, tensors: TensorNames): ModelDescription {
  const config = withLaterKeys(outer.object("text_config") ?? outer);
  expectOption(config, "mlp_bias", [false]);
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const types = layerTypes(frame, TYPES, () => "full_attention");
  const isSparse = sparseByType(frame, 3);
  const norm = (name: string) => ({ inputNorm: plusOneNorm(`${name}.weight`, frame.hidden, frame.epsilon) });
  const options = {
    tied: outer.boolean("tie_word_embeddings", config.boolean("tie_word_embeddings", false)),
    finalNorm: plusOneNorm("model.norm.weight", frame.hidden, frame.epsilon),
  };
  return describeDecoder(
    outer.string("model_type"),
    frame,
    (index, prefix) => ({
      aroundMixer: norm(`${prefix}input_layernorm`),
      mixer: attention(`${prefix}self_attn.`, frame, types[index]!, index),
      aroundFeedForward: norm(`${prefix}post_attention_layernorm`),
      feedForward: isSparse(index)
        ? moe(prefix, frame, index)
        : {
            kind: "dense",
            ...gatedBlock(
              `${prefix}mlp.`,
              config.count("intermediate_size"),
              limited(frame, "swiglu_limits_shared", index),
            ),
          },
    }),
    options,
  );
}

/** The frame of a block whose activation is cut by a list with a number for each layer; null and 0 mean that it is not. */
function limited(frame: Frame, key: string, layer: number): Frame {
  const given = frame.config.values[key] ?? [];
  const limit: unknown = Array.isArray(given) ? (given[layer] ?? 0) : given;
  if (typeof limit !== "number" || !(limit >= 0)) {
    throw new ReamError(
      "CONFIG_VALUE",
      `${key} is ${JSON.stringify(given)}, expected a number or null for each layer`,
      {
        where: `config.json ${key}`,
      },
    );
  }
  const activation: Activation = limit === 0 ? frame.activation : { kind: "clamped_silu", limit };
  return { ...frame, activation };
}

function moe(prefix: string, frame: Frame, layer: number): MoeDescription {
  const { config, hidden, experts, topK } = frame;
  const width = config.count("moe_intermediate_size", 1280);
  const shared = config.count(["share_expert_dim", "share_expert_dims"], 1280);
  return {
    kind: "moe",
    activation: limited(frame, "swiglu_limits", layer).activation,
    router: {
      weight: `${prefix}moe.gate.weight`,
      selectionBias: `${prefix}moe.router_bias`,
      scores: "sigmoid",
      topK,
      normalise: true,
      scale: config.number("moe_router_scaling_factor", 1),
    },
    experts: stackedExperts({
      ...{ count: experts, width, hidden, layout: "rows" },
      gate: `${prefix}moe.gate_proj.weight`,
      gateUp: `${prefix}moe.up_proj.weight`,
      down: `${prefix}moe.down_proj.weight`,
    }),
    shared: gatedBlock(`${prefix}share_expert.`, shared, limited(frame, "swiglu_limits_shared", layer)),
  };
}

function attention(
  prefix: string,
  { config, hidden, epsilon }: Frame,
  type: LayerType,
  layer: number,
): AttentionDescription {
  const sliding = type === "sliding_attention";
  const all = config.count("num_attention_heads");
  // What transformers saves of layers that differ says the same.
  const own = config.object("per_layer_config")?.object(String(layer));
  const usual = sliding ? config.count("num_sliding_attention_heads", all) : all;
  const heads = own?.count("num_attention_heads", usual) ?? usual;
  const keyValueHeads = config.count(["num_key_value_heads", "num_attention_groups"], 8);
  const headSize = config.count("head_dim", 128);
  const bias = config.boolean("attention_bias", false);
  return {
    kind: "attention",
    ...{ heads, keyValueHeads, headSize, scale: config.number("query_pre_attn_scalar", headSize) ** -0.5 },
    rope: readRope(ropeOfType(config, type), headSize, 10_000),
    query: linear(`${prefix}q_proj`, [heads * headSize, hidden], bias),
    key: linear(`${prefix}k_proj`, [keyValueHeads * headSize, hidden], bias),
    value: linear(`${prefix}v_proj`, [keyValueHeads * headSize, hidden], bias),
    output: linear(`${prefix}o_proj`, [hidden, heads * headSize], bias),
    queryNorm: plusOneNorm(`${prefix}q_norm.weight`, headSize, epsilon),
    keyNorm: plusOneNorm(`${prefix}k_norm.weight`, headSize, epsilon),
    gate: linear(`${prefix}g_proj`, [heads, hidden]),
    window: sliding ? config.count("sliding_window") : undefined,
  };
}

/** The config of hub files in the keys that transformers writes: lists that count layers, angles of types of layers. */
function withLaterKeys(config: ConfigReader): ConfigReader {
  const { moe_layers_enum: listed, attention_other_setting: other, moe_top_k: topK, ...values } = config.values;
  const later: Record<string, unknown> = { ...values };
  const layers = config.count("num_hidden_layers");
  const types = config.strings("layer_types");
  later.layer_types = types.slice(0, layers);
  later.num_experts_per_tok ??= topK;
  if (listed !== undefined && listed !== null && !config.has("mlp_layer_types")) {
    const numbers = new Set(
      typeof listed === "string" ? listed.split(",").map(Number) : config.integers("moe_layers_enum"),
    );
    later.mlp_layer_types = Array.from({ length: layers }, (_, layer) => (numbers.has(layer) ? "sparse" : "dense"));
  }
  if (other !== undefined && other !== null && !config.has("num_sliding_attention_heads"))
    later.num_sliding_attention_heads = config.object("attention_other_setting")!.values.num_attention_heads;
  const rope = config.object("rope_parameters");
  if (!types.every((type) => rope?.object(type) !== undefined)) later.rope_parameters = ropeByType(config, types);
  return new ConfigReader(later as ConfigReader["values"]);
}

/** The angles of each type of layers, where they are listed by layer. */
function ropeByType(config: ConfigReader, types: readonly string[]): Record<string, object> {
  const { rope_theta: thetas = 10_000, partial_rotary_factors: parts, rope_scaling: scaling } = config.values;
  const of = (list: unknown, layer: number): unknown => (Array.isArray(list) ? list[layer] : list);
  const scaled = config.object("rope_scaling") === undefined ? {} : (scaling as object);
  return Object.fromEntries(
    [...new Set(types)].map((type) => {
      const layer = types.indexOf(type);
      const partial = of(parts, layer);
      return [
        type,
        {
          ...{ rope_type: "default", rope_theta: of(thetas, layer) },
          ...(partial !== undefined && partial !== null && { partial_rotary_factor: partial }),
          ...(type === "full_attention" && scaled),
        },
      ];
    }),
  );
}
