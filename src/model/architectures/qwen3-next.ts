import type { ConfigReader } from "../config.js";
import type { ModelDescription, Norm, Projection } from "../description.js";
import type { DeltaRuleDescription } from "../mixers/descriptions.js";
import {
  describeDecoder,
  type Frame,
  gatedBlock,
  layerTypes,
  linear,
  readExperts,
  readFrame,
  type TensorNames,
} from "./parts.js";
import { deltaRuleSizes, gatedAttention, plusOneNorm } from "./qwen-hybrid.js";
import { sharedExpert, sparseLayers } from "./qwen-layers.js";

/** Qwen3-Next: three of four layers have the gated delta rule, the others gated attention; shared expert. */
export function describeQwen3Next(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const isMoe = sparseLayers(config);
  const interval = config.count("full_attention_interval", 4);
  const types = layerTypes(frame, ["full_attention", "linear_attention"], (layer) =>
    (layer + 1) % interval === 0 ? "full_attention" : "linear_attention",
  );
  const norm = (name: string): Norm => plusOneNorm(name, frame.hidden, frame.epsilon);
  return describeDecoder(
    "qwen3_next",
    frame,
    (index, prefix) => ({
      aroundMixer: { inputNorm: norm(`${prefix}input_layernorm.weight`) },
      mixer:
        types[index] === "full_attention"
          ? gatedAttention(`${prefix}self_attn.`, frame)
          : packedDeltaRule(`${prefix}linear_attn.`, frame),
      aroundFeedForward: { inputNorm: norm(`${prefix}post_attention_layernorm.weight`) },
      feedForward: isMoe(index)
        ? {
            kind: "moe",
            activation: frame.activation,
            router: {
              weight: `${prefix}mlp.gate.weight`,
              scores: "softmax",
              topK: frame.topK,
              normalise: config.boolean("norm_topk_prob", true),
            },
            experts: readExperts(`${prefix}mlp.experts.`, config.count("moe_intermediate_size"), frame),
            shared: sharedExpert(prefix, frame),
          }
        : { kind: "dense", ...gatedBlock(`${prefix}mlp.`, config.count("intermediate_size"), frame) },
    }),
    { finalNorm: norm("model.norm.weight") },
  );
}

/** The stored projections have, for each key head, [query, key, values, gates] and [betas, decays]. */
function packedDeltaRule(prefix: string, frame: Frame): DeltaRuleDescription {
  const sizes = deltaRuleSizes(prefix, frame);
  const { keyHeads, valueHeads, keySize, valueSize } = sizes;
  const values = (valueHeads / keyHeads) * valueSize;
  const packed = linear(`${prefix}in_proj_qkvz`, [keyHeads * (2 * keySize + 2 * values), frame.hidden]);
  const small = linear(`${prefix}in_proj_ba`, [2 * valueHeads, frame.hidden]);
  const part = ({ shape, ...projection }: Projection, begin: number, end: number): Projection => {
    const stride = shape[0] / keyHeads;
    const rows = Array.from({ length: keyHeads }, (_, head): [number, number] => [
      head * stride + begin,
      head * stride + end,
    ]);
    return { ...projection, shape, rows };
  };
  const query = part(packed, 0, keySize);
  const key = part(packed, keySize, 2 * keySize);
  const value = part(packed, 2 * keySize, 2 * keySize + values);
  const each = valueHeads / keyHeads;
  return {
    ...sizes,
    queryKeyValue: { ...packed, rows: [query, key, value].flatMap(({ rows }) => rows!) },
    gate: part(packed, 2 * keySize + values, 2 * keySize + 2 * values),
    beta: part(small, 0, each),
    decay: part(small, each, 2 * each),
  };
}
