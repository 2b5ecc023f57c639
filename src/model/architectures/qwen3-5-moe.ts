import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { DeltaRuleDescription } from "../mixers/descriptions.js";
import { describeDecoder, type Frame, linear, readFrame, softmaxMoe, type TensorNames } from "./parts.js";
import { deltaRuleSizes, hybridLayers, plusOneNorm } from "./qwen-hybrid.js";
import { sharedExpert } from "./qwen-layers.js";

/** Qwen3.5-MoE, the text model of a multimodal one or alone: Qwen3-Next with stacked experts and plain projections. */
export function describeQwen35Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const text = config.object("text_config");
  const inner = text ?? config;
  const frame = readFrame(inner, tensors);
  const width = inner.count("moe_intermediate_size");
  const prefix = text === undefined ? "model." : "model.language_model.";
  return describeDecoder(
    config.string("model_type"),
    frame,
    hybridLayers(frame, deltaRule, (_, prefix) => ({
      ...softmaxMoe(prefix, width, frame, true),
      shared: sharedExpert(prefix, frame),
    })),
    {
      prefix,
      finalNorm: plusOneNorm(`${prefix}norm.weight`, frame.hidden, frame.epsilon),
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
