import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { DeltaRuleDescription } from "../mixers/descriptions.js";
import { textModel } from "./multimodal.js";
import { describeDecoder, type Frame, linear, readFrame, softmaxMoe, type TensorNames } from "./parts.js";
import { separatePrediction } from "./predictions.js";
import { deltaRuleSizes, hybridLayers, plusOneNorm } from "./qwen-hybrid.js";
import { sharedExpert } from "./qwen-layers.js";

/** Qwen3.5-MoE, the text model of a multimodal one or alone: Qwen3-Next with stacked experts and plain projections. */
export function describeQwen35Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const { config: inner, names } = textModel(config);
  const frame = readFrame(inner, tensors);
  const width = inner.count("moe_intermediate_size");
  const layer = hybridLayers(frame, deltaRule, (_, prefix) => ({
    ...softmaxMoe(prefix, width, frame, true),
    shared: sharedExpert(prefix, frame),
  }));
  return describeDecoder(config.string("model_type"), frame, layer, {
    ...names,
    ...separatePrediction(frame, layer, plusOneNorm),
    finalNorm: plusOneNorm(`${names.prefix}norm.weight`, frame.hidden, frame.epsilon),
  });
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
