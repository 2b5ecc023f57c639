import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  expectOption,
  groupedQueryAttention,
  mixtralMoe,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
  wholeNorms,
} from "./parts.js";

/** MiniMax-M2: norms over all heads together, partly rotated heads, sigmoid router with correction bias. */
export function describeMinimaxM2(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "use_qk_norm", [true]);
  expectOption(config, "qk_norm_type", ["per_layer"]);
  const frame = readFrame(config, tensors);
  const { headSize } = readHeads(frame);
  const rotary = config.count("rotary_dim", headSize);
  const rope = readRope(config, headSize, 5e6, { partial: rotary / headSize });
  return describeDecoder("minimax_m2", frame, (_, prefix) => {
    const attention = groupedQueryAttention(`${prefix}self_attn.`, frame, rope);
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: { ...attention, ...wholeNorms(`${prefix}self_attn.`, attention, frame.epsilon) },
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: mixtralMoe(prefix, frame, {
        selectionBias: `${prefix}block_sparse_moe.e_score_correction_bias`,
        scores: "sigmoid",
        normalise: true,
      }),
    };
  });
}
