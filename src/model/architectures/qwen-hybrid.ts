import type { LayerDescription, Norm } from "../description.js";
import type { AttentionDescription, DeltaRuleDescription } from "../mixers/descriptions.js";
import { readRope } from "../rope.js";
import {
  type DecoderLayer,
  type Frame,
  groupedQueryAttention,
  layerTypes,
  linear,
  readHeads,
  rmsNorm,
} from "./parts.js";

/** RMS norm whose factors are stored less one. */
export function plusOneNorm(weight: string, size: number, epsilon: number): Norm {
  return { ...rmsNorm(weight, size, epsilon), plusOne: true };
}

/** Layers with the gated delta rule, and gated attention in every `full_attention_interval`-th. */
export function hybridLayers(
  frame: Frame,
  deltaRule: (prefix: string, frame: Frame) => DeltaRuleDescription,
  feedForward: (index: number, prefix: string) => LayerDescription["feedForward"],
): (index: number, prefix: string) => DecoderLayer {
  const interval = frame.config.count("full_attention_interval", 4);
  const types = layerTypes(frame, ["full_attention", "linear_attention"], (layer) =>
    (layer + 1) % interval === 0 ? "full_attention" : "linear_attention",
  );
  const norm = (name: string): Norm => plusOneNorm(name, frame.hidden, frame.epsilon);
  return (index, prefix) => ({
    aroundMixer: { inputNorm: norm(`${prefix}input_layernorm.weight`) },
    mixer:
      // A layer behind the last one is for multi-token prediction, and has attention.
      (types[index] ?? "full_attention") === "full_attention"
        ? gatedAttention(`${prefix}self_attn.`, frame)
        : deltaRule(`${prefix}linear_attn.`, frame),
    aroundFeedForward: { inputNorm: norm(`${prefix}post_attention_layernorm.weight`) },
    feedForward: feedForward(index, prefix),
  });
}

/** Attention of Qwen3-Next: `q_proj` has [query, gate] of each head; partly rotated, normed heads. */
function gatedAttention(prefix: string, frame: Frame): AttentionDescription {
  const { config, hidden, epsilon } = frame;
  const { heads, headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000, { partial: 0.25 });
  const bias = config.boolean("attention_bias", false);
  const stored = linear(`${prefix}q_proj`, [2 * heads * headSize, hidden], bias);
  const half = (index: number) =>
    Array.from({ length: heads }, (_, head): [number, number] => {
      const begin = (2 * head + index) * headSize;
      return [begin, begin + headSize];
    });
  return {
    ...groupedQueryAttention(prefix, frame, rope, { bias }),
    query: { ...stored, rows: half(0) },
    gate: { ...stored, rows: half(1) },
    queryNorm: plusOneNorm(`${prefix}q_norm.weight`, headSize, epsilon),
    keyNorm: plusOneNorm(`${prefix}k_norm.weight`, headSize, epsilon),
  };
}

/** The gated delta rule without its input projections, which families store in different orders. */
export function deltaRuleSizes(
  prefix: string,
  { config, hidden, epsilon }: Frame,
): Omit<DeltaRuleDescription, "queryKeyValue" | "gate" | "beta" | "decay"> {
  const valueHeads = config.count("linear_num_value_heads");
  const valueSize = config.count("linear_value_head_dim");
  return {
    kind: "delta-rule",
    keyHeads: config.count("linear_num_key_heads"),
    valueHeads,
    keySize: config.count("linear_key_head_dim"),
    valueSize,
    kernel: config.count("linear_conv_kernel_dim", 4),
    convolution: `${prefix}conv1d.weight`,
    logRate: `${prefix}A_log`,
    decayBias: `${prefix}dt_bias`,
    norm: rmsNorm(`${prefix}norm.weight`, valueSize, epsilon),
    output: linear(`${prefix}out_proj`, [hidden, valueHeads * valueSize]),
  };
}
