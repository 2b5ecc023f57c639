import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import { correctedRouter, deepseekMoe } from "./deepseek-parts.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  preNorm,
  readFrame,
  readHeads,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/**
 * K-EXAONE: heads are normed; layers with a window have rotary positions, those without one have none; DeepSeek-V3's
 * experts.
 */
export function describeExaoneMoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "topk_method", ["noaux_tc"]);
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const isSparse = sparseByType(frame, config.number("first_k_dense_replace", 1));
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], slidingPattern(config));
  return describeDecoder("exaone_moe", frame, (index, prefix) => {
    const sliding = types[index] === "sliding_attention";
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: {
        ...groupedQueryAttention(`${prefix}self_attn.`, frame, sliding ? rope : undefined),
        ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
        window: sliding ? config.count("sliding_window", 4096) : undefined,
      },
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: isSparse(index)
        ? deepseekMoe(
            prefix,
            frame,
            { ...correctedRouter(prefix, frame), selectionBias: `${prefix}mlp.e_score_correction_bias` },
            { sharedKey: "num_shared_experts" },
          )
        : denseBlock(prefix, frame),
    };
  });
}

/** Every `sliding_window_pattern`-th layer is without a window, where `layer_types` does not tell. */
function slidingPattern(config: ConfigReader) {
  if (config.strings("layer_types").length > 0) return () => "full_attention" as const;
  const every = config.count("sliding_window_pattern", 4);
  return (layer: number) => ((layer + 1) % every === 0 ? "full_attention" : "sliding_attention");
}
