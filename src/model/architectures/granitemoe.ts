import type { ConfigReader } from "../config.js";
import type { ModelDescription, MoeDescription, Sublayer } from "../description.js";
import { readRope } from "../rope.js";
import { stackedExperts } from "../storage/stacked.js";
import {
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
  const { experts, hidden, topK, activation } = frame;
  const rope = readRope(config, readHeads(frame).headSize, 10_000);
  const bias = config.boolean("attention_bias", false);
  const width = config.count("intermediate_size");
  const output = config.number("residual_multiplier", 1);
  const sublayer = (name: string): Sublayer => ({
    ...preNorm(name, frame),
    factors: { of: "input", residual: 1, output },
  });
  return describeDecoder(
    config.string("model_type"),
    frame,
    (_, prefix) => ({
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
          weight: `${prefix}block_sparse_moe.router.layer.weight`,
          scores: "softmax",
          topK,
          normalise: true,
        },
        experts: stackedExperts({
          ...{ count: experts, width, hidden, layout: "rows" },
          gateUp: `${prefix}block_sparse_moe.input_linear.weight`,
          down: `${prefix}block_sparse_moe.output_linear.weight`,
        }),
        ...graniteShared(prefix, frame),
      },
    }),
    {
      embeddingScale: config.number("embedding_multiplier", 1),
      logitScale: 1 / config.number("logits_scaling", 1),
    },
  );
}

/** The shared expert, whose gate and up are rows of one matrix; without `shared_intermediate_size` there is none. */
export function graniteShared(prefix: string, { config, hidden, activation }: Frame): Pick<MoeDescription, "shared"> {
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
