import type { ConfigReader } from "../config.js";
import type { ModelDescription, RouterDescription } from "../description.js";
import type { MixtureOfAttentionDescription } from "../mixers/descriptions.js";
import { readRope } from "../rope.js";
import { stackedExperts } from "../storage/stacked.js";
import { describeDecoder, type Frame, linear, preNorm, readFrame, type TensorNames } from "./parts.js";

/** JetMoE: both attention and feed-forward blocks are mixtures of experts, of which one key of the config tells the number. */
export function describeJetmoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { activation: "activation_function" });
  const { experts, hidden, topK, activation } = frame;
  const width = config.count("intermediate_size");
  return describeDecoder(
    "jetmoe",
    frame,
    (_, prefix) => ({
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: mixtureOfAttention(`${prefix}self_attention.`, frame),
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: {
        kind: "moe",
        activation,
        router: router(`${prefix}mlp.router.layer.weight`, topK),
        experts: stackedExperts({
          ...{ count: experts, width, hidden, layout: "rows" },
          gateUp: `${prefix}mlp.input_linear.weight`,
          down: `${prefix}mlp.output_linear.weight`,
        }),
        bias: `${prefix}mlp.bias`,
      },
    }),
    { tied: config.boolean("tie_word_embeddings", true) },
  );
}

function router(weight: string, topK: number): RouterDescription {
  return { weight, scores: "softmax", topK, normalise: true };
}

function mixtureOfAttention(prefix: string, { config, hidden, experts, topK }: Frame): MixtureOfAttentionDescription {
  const keyValueHeads = config.count("num_key_value_heads", 16);
  const headSize = config.count("kv_channels", 128);
  const size = keyValueHeads * headSize;
  const stored = linear(`${prefix}kv_proj`, [2 * size, hidden]);
  return {
    kind: "mixture-of-attention",
    experts: stackedExperts({
      ...{ count: experts, width: size, hidden, layout: "rows", gate: "none" },
      gateUp: `${prefix}experts.input_linear.weight`,
      down: `${prefix}experts.output_linear.weight`,
    }),
    router: router(`${prefix}experts.router.layer.weight`, topK),
    keyValueHeads,
    headSize,
    rope: readRope(config, headSize, 10_000),
    key: { ...stored, rows: [[0, size]] },
    value: { ...stored, rows: [[size, 2 * size]] },
    bias: `${prefix}experts.bias`,
  };
}
