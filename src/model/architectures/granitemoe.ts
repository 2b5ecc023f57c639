import type { ConfigReader } from "../config.js";
import type { ModelDescription, MoeDescription, Sublayer } from "../description.js";
import { readRope } from "../rope.js";
import { stackedExperts } from "../storage/stacked.js";
import {
  type DecoderLayer,
  describeDecoder,
  type Frame,
  groupedQueryAttention,
  linear,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/**
 * Granite 3 MoE: factors on embeddings, attention, sublayers and logits; stacked experts. GraniteMoeShared: with a shared
 * expert.
 */
export function describeGraniteMoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  return describeDecoder(config.string("model_type"), frame, graniteLayers(frame), graniteOptions(config));
}

/** Factors on embeddings and logits. */
export function graniteOptions(config: ConfigReader): Pick<ModelDescription, "embeddingScale" | "logitScale"> {
  return {
    embeddingScale: config.number("embedding_multiplier", 1),
    logitScale: 1 / config.number("logits_scaling", 1),
  };
}

/** The layers of Granite's MoE models with attention. */
export function graniteLayers(frame: Frame, { rotated = true } = {}): (index: number, prefix: string) => DecoderLayer {
  const { config, tensors, experts, hidden, topK, activation } = frame;
  const rope = rotated ? readRope(config, readHeads(frame).headSize, 10_000) : undefined;
  const bias = config.boolean("attention_bias", false);
  const width = config.count("intermediate_size");
  const output = config.number("residual_multiplier", 1);
  /** Those of the hub's files, or those that transformers has for them. */
  const names = (prefix: string) => {
    const block = `${prefix}block_sparse_moe.`;
    return tensors.has(`${block}input_linear.weight`)
      ? {
          router: `${block}router.layer.weight`,
          gateUp: `${block}input_linear.weight`,
          down: `${block}output_linear.weight`,
        }
      : { router: `${block}router.weight`, gateUp: `${block}experts.gate_up_proj`, down: `${block}experts.down_proj` };
  };
  const sublayer = (name: string): Sublayer => ({
    ...preNorm(name, frame),
    factors: { of: "input", residual: 1, output },
  });
  return (_, prefix) => ({
    aroundMixer: sublayer(`${prefix}input_layernorm.weight`),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      scale: config.number("attention_multiplier", 1),
    },
    aroundFeedForward: sublayer(`${prefix}post_attention_layernorm.weight`),
    feedForward: {
      kind: "moe",
      activation,
      router: {
        weight: names(prefix).router,
        scores: "softmax",
        topK,
        normalise: true,
      },
      experts: stackedExperts({
        ...{ count: experts, width, hidden, layout: "rows" },
        gateUp: names(prefix).gateUp,
        down: names(prefix).down,
      }),
      ...graniteShared(prefix, frame),
    },
  });
}

/** The shared expert, whose gate and up are rows of one matrix; without `shared_intermediate_size` there is none. */
function graniteShared(prefix: string, { config, hidden, activation }: Frame): Pick<MoeDescription, "shared"> {
  const width = config.number("shared_intermediate_size", 0);
  if (width === 0) return {};
  const input = linear(`${prefix}shared_mlp.input_linear`, [2 * width, hidden]);
  return {
    shared: {
      activation,
      gate: { ...input, rows: [[0, width]] },
      up: { ...input, rows: [[width, 2 * width]] },
      down: linear(`${prefix}shared_mlp.output_linear`, [hidden, width]),
    },
  };
}
