import type { ConfigReader } from "../config.js";
import type { ModelDescription, Norm } from "../description.js";
import type { DeltaRuleDescription } from "../mixers/descriptions.js";
import { describeDecoder, type Frame, layerTypes, linear, readExperts, readFrame, type TensorNames } from "./parts.js";
import { deltaRuleSizes, gatedAttention, plusOneNorm } from "./qwen-hybrid.js";
import { sharedExpert } from "./qwen-layers.js";

/** Qwen3.5-MoE, the text model of a multimodal one or alone: Qwen3-Next with stacked experts and plain projections. */
export function describeQwen35Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const text = config.object("text_config");
  const inner = text ?? config;
  const frame = readFrame(inner, tensors);
  const interval = inner.count("full_attention_interval", 4);
  const types = layerTypes(frame, ["full_attention", "linear_attention"], (layer) =>
    (layer + 1) % interval === 0 ? "full_attention" : "linear_attention",
  );
  const width = inner.count("moe_intermediate_size");
  const prefix = text === undefined ? "model." : "model.language_model.";
  const norm = (name: string): Norm => plusOneNorm(name, frame.hidden, frame.epsilon);
  return describeDecoder(
    config.string("model_type"),
    frame,
    (index, prefix) => ({
      aroundMixer: { inputNorm: norm(`${prefix}input_layernorm.weight`) },
      mixer:
        types[index] === "full_attention"
          ? gatedAttention(`${prefix}self_attn.`, frame)
          : deltaRule(`${prefix}linear_attn.`, frame),
      aroundFeedForward: { inputNorm: norm(`${prefix}post_attention_layernorm.weight`) },
      feedForward: {
        kind: "moe",
        activation: frame.activation,
        router: { weight: `${prefix}mlp.gate.weight`, scores: "softmax", topK: frame.topK, normalise: true },
        experts: readExperts(`${prefix}mlp.experts.`, width, frame),
        shared: sharedExpert(prefix, frame),
      },
    }),
    {
      prefix,
      finalNorm: norm(`${prefix}norm.weight`),
      tied: config.boolean("tie_word_embeddings", inner.boolean("tie_word_embeddings", false)),
    },
  );
}

function deltaRule(prefix: string, frame: Frame): DeltaRuleDescription {
  const sizes = deltaRuleSizes(prefix, frame);
  const { keyHeads, valueHeads, keySize, valueSize } = sizes;
  const { hidden } = frame;
  return {
    ...sizes,
    queryKeyValue: linear(`${prefix}in_proj_qkv`, [2 * keyHeads * keySize + valueHeads * valueSize, hidden]),
    gate: linear(`${prefix}in_proj_z`, [valueHeads * valueSize, hidden]),
    beta: linear(`${prefix}in_proj_b`, [valueHeads, hidden]),
    decay: linear(`${prefix}in_proj_a`, [valueHeads, hidden]),
  };
}
